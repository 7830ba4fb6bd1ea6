"""`pull`: what is asked for, what is watched, and how it ends."""

import pytest

from tests.unit.cli.fake import FILE, MODEL, SERVER, Fake, Person


def test_pull_follows_the_model_until_it_is_served(person: Person, fake: Fake) -> None:
    """From downloading over available to ready, with a line per state on stderr and the result on stdout."""
    half = MODEL | {"status": "downloading", "bytes_done": 1_000_000, "rate_bps": 1e6, "eta_s": 1.0, "server": None}
    half["files"] = [FILE | {"status": "transferring", "bytes_done": 1_000_000, "rate_bps": 1e6, "eta_s": 1.0}]
    fake.on("GET /models/m-1", (200, half), (200, MODEL))
    fake.on("GET /status/s-1", (200, SERVER | {"status": "deploying"}), (200, SERVER))
    result = person.types("pull", "owner/Tiny")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "Tiny: downloading, 0 of 1 files verified, 1.0 MB of 2.0 MB, 1.0 MB/s, 1 s left",
        "Tiny: available, 1 of 1 files verified, 2.0 MB of 2.0 MB",
        "tiny: deploying",
        "tiny: ready",
    ]
    assert "Served as tiny" in result.stdout
    assert fake.bodies("POST /models") == [{"source": "hf://owner/Tiny", "serve": True}]


def test_pull_sends_what_the_options_say(person: Person, fake: Fake) -> None:
    """Every option has its place in the request."""
    options = ["--name", "t", "--include", "*.json", "--memory", "2048", "--max-model-len", "512", "--param", "seed=7"]
    person.types("pull", "https://host/file", *options, "--min", "0", "--window", "10", "--no-wait")
    assert fake.bodies("POST /models") == [
        {
            "source": "https://host/file",
            "name": "t",
            "include": ["*.json"],
            "serve": {
                "memory_mb": 2048,
                "params": {"seed": 7, "max_model_len": 512},
                "scale": {"min": 0, "window_s": 10},
            },
        }
    ]


def test_pull_without_serving_ends_when_the_model_is_verified(person: Person, fake: Fake) -> None:
    """--no-serve asks for no server and waits for none."""
    fake.on("GET /models/m-1", (200, MODEL | {"server": None}))
    assert person.types("pull", "owner/Tiny", "--no-serve").exit_code == 0
    assert fake.bodies("POST /models")[0]["serve"] is False


def test_a_pull_is_watched_through_lost_connections(person: Person, fake: Fake) -> None:
    """A front door that restarts in the middle: the next look finds the model where it is."""
    half = MODEL | {"status": "downloading", "server": None}
    fake.on("GET /models/m-1", (200, half), (0, None), (0, None), (200, MODEL))
    result = person.types("pull", "owner/Tiny", "--no-serve")
    assert (result.exit_code, "fetched and verified" in result.stdout) == (0, True), result.output


def test_a_pull_that_fails_says_why(person: Person, fake: Fake) -> None:
    """The record's reason reaches the person, with exit code 1."""
    fake.on("GET /models/m-1", (200, MODEL | {"status": "failed", "error": "sha256 of a.safetensors differs"}))
    result = person.types("pull", "owner/Tiny")
    assert (result.exit_code, "sha256 of a.safetensors differs" in result.stderr) == (1, True)


def test_a_pull_that_waits_for_its_source_says_so(person: Person, fake: Fake) -> None:
    """A hub that is down shows while it is waited for, not after."""
    waiting = MODEL | {"status": "downloading", "error": "the hub does not answer; trying again", "files": []}
    fake.on("GET /models/m-1", (200, waiting), (200, MODEL))
    assert "the hub does not answer; trying again" in person.types("pull", "owner/Tiny").stderr


def test_a_server_that_fails_says_why(person: Person, fake: Fake) -> None:
    """The cluster's reason reaches the person."""
    fake.on("GET /status/s-1", (200, SERVER | {"status": "failed", "error": "0/1 nodes: Insufficient cpu"}))
    result = person.types("pull", "owner/Tiny")
    assert (result.exit_code, "Insufficient cpu" in result.stderr) == (1, True)


@pytest.mark.parametrize("source", ["Tiny", "-x/y", "a b/c", "owner/"])
def test_a_source_that_is_none_is_wrong_usage(person: Person, fake: Fake, source: str) -> None:
    """Said before anything is sent."""
    assert (person.types("pull", "--", source).exit_code, fake.seen) == (2, [])
