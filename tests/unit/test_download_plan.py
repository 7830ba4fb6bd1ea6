"""Which files of a repository are fetched, and which names are refused."""

import pytest

from functions.download import names
from functions.download.plan import MAX_FILES, RemoteFile, Unplannable, quant_level, select


def chosen(
    paths: list[str], *, include: tuple[str, ...] = (), exclude: tuple[str, ...] = (), level: str | None = None
) -> list[str]:
    """The paths that select picks of files with these names."""
    return [file.path for file in select([RemoteFile(path, 1) for path in paths], include, exclude, level)]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.safetensors", "config.json", "README.md", "x.bin"], ["a.safetensors", "config.json"]),
        (["a.safetensors", "a.gguf", "merges.txt"], ["a.safetensors", "merges.txt"]),
        (["a.gguf", "tokenizer.model"], ["a.gguf", "tokenizer.model"]),
        (["m-Q4_K_M.gguf", "m-Q8_0.gguf"], ["m-Q4_K_M.gguf"]),
        (["m-Q8_0-1.gguf", "m-Q8_0-2.gguf"], ["m-Q8_0-1.gguf", "m-Q8_0-2.gguf"]),
        (["consolidated.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["consolidated.safetensors", "params.json"], ["consolidated.safetensors", "params.json"]),
        (["a.safetensors", "code.py", "chat_template.jinja"], ["a.safetensors", "chat_template.jinja"]),
    ],
)
def test_the_default_is_one_weight_format_and_its_texts(paths: list[str], expected: list[str]) -> None:
    """Safetensors before GGUF, one GGUF level, configuration and tokenizer; nothing that can run code."""
    assert expected == chosen(paths)


@pytest.mark.parametrize(
    ("paths", "level", "expected"),
    [
        (["m-Q4_K_M.gguf", "m-Q8_0.gguf", "config.json"], "q8_0", ["config.json", "m-Q8_0.gguf"]),
        (["m-Q8_0.gguf", "m.safetensors"], "Q8_0", ["m-Q8_0.gguf"]),
        (["Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf", "m-F16.gguf"], "Q8_0", 2),
        (["m-Q8_0.gguf", "mmproj-m-F16.gguf", "imatrix_unsloth.gguf"], None, ["m-Q8_0.gguf"]),
    ],
)
def test_a_level_is_asked_for_by_name(paths: list[str], level: str | None, expected: list[str] | int) -> None:
    """GGUF of that level then, whatever else there is; what lies beside the weights is no level."""
    found = chosen(paths, level=level)
    assert (len(found) if isinstance(expected, int) else found) == expected


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["m-Q4_K_M.gguf", "m-Q8_0.gguf"], "Q4_K_M, Q8_0 and not Q2_K"),
        (["m.safetensors"], "^the repository holds no GGUF weights$"),
    ],
)
def test_a_level_that_is_not_there_is_refused(paths: list[str], words: str) -> None:
    """With the levels that are."""
    with pytest.raises(Unplannable, match=words):
        chosen(paths, level="Q2_K")


def test_patterns_replace_the_default() -> None:
    """Include picks, exclude takes away."""
    paths = ["a.safetensors", "b.safetensors", "notes.md"]
    assert chosen(paths, include=("*",), exclude=("b.*",)) == ["a.safetensors", "notes.md"]


@pytest.mark.parametrize(("pattern", "expected"), [("*", []), ("m.*", []), ("*.bin", ["m.bin"]), ("m.bin", ["m.bin"])])
def test_a_file_that_can_run_code_comes_only_by_its_suffix(pattern: str, expected: list[str]) -> None:
    """A wildcard that happens to cover a pickle does not name it."""
    picked = chosen(["m.bin", "config.json"], include=("config.json", pattern))
    assert [path for path in picked if path == "m.bin"] == expected


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["pytorch_model.bin"], "pytorch_model.bin"),
        (["README.md"], "no safetensors"),
        (["m-Q5_0.gguf", "m-Q8_0.gguf"], "Q5_0, Q8_0"),
        ([], "no safetensors"),
    ],
)
def test_a_repository_without_a_choice_says_why(paths: list[str], words: str) -> None:
    """The message names what is there and what to do."""
    with pytest.raises(Unplannable, match=words):
        chosen(paths)


def test_a_flood_of_files_is_refused() -> None:
    """No listing fills the database."""
    with pytest.raises(Unplannable, match="allowed"):
        chosen([f"{number}.safetensors" for number in range(MAX_FILES + 1)])


@pytest.mark.parametrize(
    "path",
    [
        "../x.json", "a/../x.json", "/x.json", "a//x.json", "./x.json", "a\\x.json", "a\0.json", "a\u202e.json",
        "a\u200b.json", "a\n.json", " a.json", "a /b.json", "a" * 256 + ".json", "a/" * 500 + "x.json", "\ud800.json",
    ],
)  # fmt: skip
def test_unsafe_names_are_refused(path: str) -> None:
    """Climbing, absolute, hidden, too long."""
    with pytest.raises(names.UnsafeName):
        chosen([path, "a.safetensors"])


@pytest.mark.parametrize("path", ["x.json", "a/b/c.json", "..x.json", "x..json", "é.json", "模型.json"])
def test_plain_names_of_any_language_pass(path: str) -> None:
    """Dots inside a name climb nowhere."""
    assert path in chosen([path, "a.safetensors"])


@pytest.mark.parametrize("pair", [("A.json", "a.json"), ("\ufb01.json", "fi.json"), ("e\u0301.json", "é.json")])
def test_names_that_collide_elsewhere_are_refused(pair: tuple[str, str]) -> None:
    """Case and Unicode forms do not count on every file system."""
    with pytest.raises(names.UnsafeName, match="differ only"):
        chosen([*pair, "a.safetensors"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [("m-Q4_K_M.gguf", "Q4_K_M"), ("m.q8_0.gguf", "Q8_0"), ("m-f16.gguf", "F16"), ("m-IQ2_XS-1.gguf", "IQ2_XS"),
     ("m.gguf", None), ("m-Q4_K_M.safetensors", None)],
)  # fmt: skip
def test_the_level_is_read_from_the_name(path: str, expected: str | None) -> None:
    """As makers of GGUF files write it."""
    assert expected == quant_level(path)
