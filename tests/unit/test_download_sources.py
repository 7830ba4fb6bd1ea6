"""What a source may look like."""

import msgspec
import pytest

from functions.download.requests import Name
from functions.download.sources import (
    BucketSource,
    CatalogueSource,
    FolderSource,
    HubSource,
    InvalidSource,
    RegistrySource,
    Source,
    WebSource,
    parse,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://acme/model", HubSource("acme", "model", "main", "")),
        ("hf://acme/model@v1.0", HubSource("acme", "model", "v1.0", "")),
        ("hf://acme/model@refs%2Fpr%2F1", HubSource("acme", "model", "refs/pr/1", "")),
        ("hf://acme/model/sub/file.gguf", HubSource("acme", "model", "main", "sub/file.gguf")),
        ("hf://acme/model@main/file.gguf", HubSource("acme", "model", "main", "file.gguf")),
        (
            "https://Example.com/a/m%20x.gguf?sig=1",
            WebSource("https://Example.com/a/m%20x.gguf?sig=1", "example.com", "https", "m x.gguf"),
        ),
        ("mlflow://tiny@champion", RegistrySource("tiny", alias="champion")),
        ("mlflow://tiny/12", RegistrySource("tiny", version="12")),
        ("s3://my-bucket/team/tiny/", BucketSource("my-bucket", "team/tiny")),
        ("s3://my-bucket", BucketSource("my-bucket", "")),
        ("file:///models/my%20tiny/", FolderSource("/models/my tiny")),
        (
            "quant+https://q.example/v1/tiny?all=1",
            CatalogueSource("https://q.example/v1/tiny?all=1", "q.example", "https"),
        ),
    ],
)
def test_a_source_is_read_into_its_parts(text: str, expected: Source) -> None:
    """Repository, revision, path; or address, host and file name."""
    assert expected == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme/model",
        "hf://model",
        "hf://acme/",
        "hf://../etc",
        "hf://acme/model@",
        "hf://acme/model@a/../b",
        "hf://acme/model@..",
        "hf://acme/model/../../etc/passwd",
        "hf://acme/model/a\\b",
        "hf://acme/mo del",
        "hf://acme/model\n",
        "hf://ac\u202eme/model",
        "file:///",
        "file://host/path",
        "file:///a/../b",
        "file:///a%2F..%2Fb",
        "file:///a?b",
        "file:///a#b",
        "file:a",
        "gopher://host/x.gguf",
        "https:///x.gguf",
        "https://user:pw@host/x.gguf",
        "https://host/x.gguf#part",
        "https://host/x.gguf#",
        "https://2130706433/x.gguf",
        "https://0x7f.1/x.gguf",
        "https://127。0。0。1/x.gguf",
        "https://[::1%25lo/x.gguf",
        "quant+ftp://host/catalogue",
        "quant+https://user@host/catalogue",
        "quant+https:///catalogue",
        "quant+hf://acme/model",
        "s3://",
        "s3://b/model",
        "s3://Bucket/model",
        "s3://user@bucket/model",
        "s3://bucket/a/../b",
        "s3://bucket/a//b",
        "mlflow://model",
        "mlflow://model@",
        "mlflow://model@al/ias",
        "mlflow://model/0",
        "mlflow://model/latest",
        "mlflow://model/1/2",
        "mlflow://@alias",
        "mlflow://host:5000/model",
        "https://host:99999/x.gguf",
        "https://host/model.bin",
        "https://host/..%2Fx.gguf",
        "https://[::1/x.gguf",
        "hf://acme/" + "m" * 3000,
    ],
)
def test_what_is_no_source_is_refused(text: str) -> None:
    """Other schemes, climbing paths, credentials in addresses, and forms that hide what they are."""
    with pytest.raises(InvalidSource):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://acme/model@v1/x.gguf", "model"),
        ("https://host/a/m-Q8_0.gguf", "m-Q8_0"),
        ("quant+https://host/v1/tiny.json", "tiny"),
        ("quant+https://host/v1/my%20models/", "v1"),
        ("quant+https://host", "host"),
        ("s3://my-bucket/team/tiny", "tiny"),
        ("s3://my-bucket/team/tiny.gguf", "tiny"),
        ("s3://my-bucket", "my-bucket"),
        ("mlflow://tiny@champion", "tiny"),
        ("file:///models/my%20tiny (2)".replace(" ", "%20"), "my-tiny-2"),
        ("https://host/%E6%A8%A1%E5%9E%8B.gguf", "model"),
        ("https://host/" + "m" * 200 + ".gguf", "m" * 96),
        ("file:///models/SmolLM2-1.7B", "SmolLM2-1.7B"),
        ("file:///models/m-Q8_0.gguf", "m-Q8_0"),
    ],
)
def test_a_model_is_named_after_its_source(text: str, expected: str) -> None:
    """When nobody says otherwise; by a name that could have been asked for."""
    assert parse(text).model_name == expected
    assert msgspec.convert(expected, Name) == expected
