"""`gc` and the storage lines of `show`: what content costs, and what goes."""

from tests.unit.cli.fake import MODEL, Fake, Person

DIGEST = "ab" * 32


def test_a_dry_run_shows_what_would_go(person: Person, fake: Fake) -> None:
    """Each digest, and the sum; the request says that it is one."""
    fake.on("POST /models/gc", (200, {"dry_run": True, "blobs": 1, "bytes": 3_000_000, "digests": [DIGEST]}))
    result = person.types("gc", "--dry-run", "--now")
    assert result.stdout.splitlines() == [f"sha256:{DIGEST}", "1 blobs, 3.0 MB: would go."]
    assert fake.bodies("POST /models/gc") == [{"dry_run": True, "now": True}]


def test_a_collection_says_what_went(person: Person, fake: Fake) -> None:
    """After the grace period, unless asked otherwise."""
    fake.on("POST /models/gc", (200, {"dry_run": False, "blobs": 0, "bytes": 0, "digests": []}))
    assert person.types("gc").stdout == "0 blobs, 0 B: gone.\n"
    assert fake.bodies("POST /models/gc") == [{"dry_run": False, "now": False}]


def test_show_says_what_is_shared_and_who_signed(person: Person, fake: Fake) -> None:
    """Deleting the model would free what is its own."""
    signature = {"outcome": "verified", "key": DIGEST, "detail": None}
    storage = {"shared_bytes": 2_000_000, "unique_bytes": 1_000_000}
    fake.on("GET /models/Tiny", (200, MODEL | {"storage": storage, "signature": signature}))
    lines = person.types("show", "Tiny").stdout.splitlines()
    assert "Storage:   1.0 MB its own, 2.0 MB shared with other models" in lines
    assert "Signature: verified (key abababababab)" in lines
