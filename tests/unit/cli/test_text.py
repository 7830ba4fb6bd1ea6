"""What `kn model` makes of values and words: numbers for people, options into bodies, streams into text."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import click
import pytest

from kn_model import conversation, output
from kn_model.commands.pull import address
from kn_model.failure import Failure
from kn_model.progress import Lines
from kn_model.records import ModelRecord
from kn_model.serving import gpu, parameters
from tests.unit.cli.fake import MODEL


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (269_060_552, "269.1 MB"), (5e13, "50.0 TB")],
)
def test_sizes_have_decimal_units(count: float | None, text: str) -> None:
    """As hubs and disks count."""
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.2, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3600, "1 h 0 min"), (200_000, "2 d")],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    """Precise enough to decide whether to wait."""
    assert output.duration(seconds) == text


def test_an_age_counts_from_an_instant_with_an_offset() -> None:
    """And is never negative, whatever two clocks say."""
    now = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
    instants = ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T12:05:00Z", None]
    assert [output.age(instant, now) for instant in instants] == ["30 s", "30 s", "0 s", "-"]


def test_a_table_is_as_wide_as_its_widest_cell() -> None:
    """No trailing blanks, so that a line can be copied."""
    assert output.table(("A", "B"), [("long", "x")]) == ["A      B", "long   x"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("owner/name", "hf://owner/name"),
        ("owner/name@v1.0", "hf://owner/name@v1.0"),
        ("hf://owner/name", "hf://owner/name"),
        ("https://host/a.gguf", "https://host/a.gguf"),
    ],
)
def test_the_short_form_of_a_source_is_the_hub_s(source: str, expected: str) -> None:
    """owner/name means hf://owner/name; whatever has a scheme stays."""
    assert address(source) == expected


def test_parameters_are_json_scalars_or_text() -> None:
    """Numbers and booleans arrive as such; everything else is text."""
    assert parameters(["a=1", "b=true", "c=x=y", "d=[1]", "e=", "f=0.5"]) == {
        "a": 1,
        "b": True,
        "c": "x=y",
        "d": "[1]",
        "e": "",
        "f": 0.5,
    }


@pytest.mark.parametrize("pair", ["", "a", "=1"])
def test_a_parameter_without_name_or_value_is_wrong_usage(pair: str) -> None:
    """Said with the form that is meant."""
    with pytest.raises(click.UsageError, match="NAME=VALUE"):
        parameters([pair])


def test_a_gpu_is_memory_or_a_kind_and_count() -> None:
    """One where no count is given."""
    found = [gpu("24576"), gpu("24576x2"), gpu("RTX-4090"), gpu("H100-80GBx8")]
    assert found == [
        {"memory_mb": 24576, "count": 1},
        {"memory_mb": 24576, "count": 2},
        {"name": "RTX-4090", "count": 1},
        {"name": "H100-80GB", "count": 8},
    ]


@pytest.mark.parametrize("text", ["", "x2", "24GB", "24576xtwo", "-1", "24576,2", "H200 x2"])
def test_a_gpu_that_is_none_is_wrong_usage(text: str) -> None:
    """Said with the form that is meant."""
    with pytest.raises(click.UsageError, match="MB"):
        gpu(text)


def lines(*data: str) -> Iterator[str]:
    """Server-sent events with comments and blank lines between them."""
    for item in data:
        yield ": comment"
        yield f"data: {item}"
        yield ""


def chunk(**delta: Any) -> str:
    """One chunk of a streamed completion."""
    return json.dumps({"choices": [{"delta": delta}]})


def test_the_pieces_of_a_stream_are_its_text() -> None:
    """Roles, empty deltas and usage carry none; the end mark ends it."""
    stream = lines(chunk(role="assistant"), chunk(content="Pa"), chunk(content="ris"), '{"choices": []}', "[DONE]", "x")
    assert list(conversation.pieces(stream)) == ["Pa", "ris"]


def test_an_error_in_the_stream_is_a_failure() -> None:
    """An engine that dies in the middle says so in the stream."""
    with pytest.raises(Failure) as caught:
        list(conversation.pieces(lines('{"error": {"message": "out of memory"}}')))
    assert caught.value.why == "out of memory"


def test_a_log_gets_a_line_per_state_and_few_in_between(capsys: pytest.CaptureFixture[str]) -> None:
    """CI keeps every line: bytes that move are worth one in three seconds, a new state one at once."""
    states = [("downloading", 1), ("downloading", 2), ("downloading", 3), ("available", 4)]
    shown = Lines()
    for status, done in states:
        shown.update(cast("ModelRecord", MODEL | {"status": status, "bytes_done": done}))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[2] for line in lines] == ["1 B of 2.0 MB", "4 B of 2.0 MB"]
