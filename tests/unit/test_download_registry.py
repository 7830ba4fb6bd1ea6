"""MLflow registries: where artifacts lie, how they are laid out, and what its refusals mean."""

import msgspec
import pytest

from functions.download.hub import Listing
from functions.download.plan import RemoteFile
from functions.download.problems import SourceRefused
from functions.download.registry import place, refusal, rooted
from functions.download.sources import BucketSource


@pytest.mark.parametrize(
    ("uri", "artifacts", "expected"),
    [
        ("s3://bucket/1/models/m-1/artifacts", "", BucketSource("bucket", "1/models/m-1/artifacts")),
        ("mlflow-artifacts:/1/models/m-1", "s3://bucket/mlflow", BucketSource("bucket", "mlflow/1/models/m-1")),
        ("mlflow-artifacts://host:5000/1/m", "s3://bucket", BucketSource("bucket", "1/m")),
    ],
)
def test_artifacts_are_found_in_s3(uri: str, artifacts: str, expected: BucketSource) -> None:
    """Where the server says, or behind the server where the operator says."""
    assert place(uri, artifacts) == expected


@pytest.mark.parametrize(
    ("uri", "artifacts", "words"),
    [
        ("mlflow-artifacts:/1/m", "", "TORPOR_MLFLOW_ARTIFACTS"),
        ("mlflow-artifacts:/../other", "s3://bucket/mlflow", "artifacts lie at"),
        ("file:///mlruns/1", "", "only S3 is read"),
        ("gs://bucket/1", "", "only S3 is read"),
        ("/mlruns/1", "", "only S3 is read"),
        ("s3://bucket/a/../b", "", "artifacts lie at"),
        ("s3://", "", "artifacts lie at"),
    ],
)
def test_artifacts_elsewhere_are_refused(uri: str, artifacts: str, words: str) -> None:
    """With the setting that may help."""
    with pytest.raises(SourceRefused, match=words):
        place(uri, artifacts)


def listing(*paths: str) -> Listing:
    """Files of one byte each."""
    return Listing(
        "", [RemoteFile(path, 1) for path in paths], {p: f"s3://b/{p}" for p in paths}, {p: f'"{p}"' for p in paths}
    )


def test_weights_and_tokenizer_lie_beside_each_other() -> None:
    """MLflow's transformers flavour keeps them apart; where both have a file, that of the weights is meant."""
    found = rooted(
        listing(
            "MLmodel", "components/tokenizer/tokenizer.json", "components/tokenizer/config.json", "model/config.json"
        ),
        "3",
    )
    assert {file.path for file in found.files} == {"MLmodel", "tokenizer.json", "config.json"}
    assert found.urls["config.json"] == "s3://b/model/config.json"
    assert found.etags["tokenizer.json"] == '"components/tokenizer/tokenizer.json"'
    assert found.revision == "3"


def test_other_layouts_stay_as_they_are() -> None:
    """A folder of files, logged as artifacts."""
    assert {file.path for file in rooted(listing("config.json", "a/m.safetensors"), "1").files} == {
        "config.json",
        "a/m.safetensors",
    }


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (
            404,
            {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model with name=x not found"},
            "version-not-found",
        ),
        (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "alias y not found."}, "version-not-found"),
        (403, {}, "source-forbidden"),
        (401, {}, "source-forbidden"),
        (418, {"message": "tea"}, "source-refused"),
    ],
)
def test_refusals_have_codes(status: int, body: dict[str, str], code: str) -> None:
    """MLflow's own words are in the message."""
    error = refusal(status, msgspec.json.encode(body), "x")
    assert error.code == code
    assert body.get("message", "TORPOR_MLFLOW_TOKEN" if status < 404 else "") in str(error)


def test_an_answer_that_is_no_json_is_refused_too() -> None:
    """A proxy's page, for example."""
    assert refusal(404, b"<html>", "x").code == "source-refused"
