"""`login`: a password becomes a token that only its owner can read."""

import stat

from tests.unit.cli.fake import TOKEN, Fake, Person, problem


def test_login_keeps_the_token_for_its_owner_alone(person: Person, fake: Fake) -> None:
    """The file is 0600; later commands use it without a word about it."""
    url = person.environ.pop("TORPOR_URL")
    del person.environ["TORPOR_TOKEN"]
    result = person.types("login", url, "--username", "ada", "--password-stdin", stdin="secret\n")
    saved = person.home / "config" / "torpor" / "config.json"
    assert (result.exit_code, stat.S_IMODE(saved.stat().st_mode)) == (0, 0o600), result.output
    assert fake.bodies("POST /auth/token") == [{"username": "ada", "password": "secret"}]
    assert TOKEN not in result.output
    person.types("ls")
    assert fake.seen[-1] == ("GET /models", None, f"Bearer {TOKEN}")


def test_a_wrong_password_is_said(person: Person, fake: Fake) -> None:
    """Exit code 3, and nothing is saved."""
    fake.on("POST /auth/token", problem(401, "Authentication is required", "wrong username or password"))
    result = person.types("login", fake.url, "--username", "ada", "--password-stdin", stdin="no\n")
    assert (result.exit_code, (person.home / "config").exists()) == (3, False)


def test_login_without_a_runtime_says_how_to_start_one(person: Person) -> None:
    """`kn model login` in a directory where nothing runs."""
    result = person.types("login")
    assert (result.exit_code, "kn model up" in result.stderr) == (5, True)
