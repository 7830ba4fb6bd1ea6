"""Cold start: what is imported before the first request."""

import json
import os
import subprocess
import sys

from functions.auth.signing import generate

HEAVY = ("argon2", "asyncpg", "jwt", "cryptography", "aiohttp", "boto3")
SHOW = f"import functions.auth.main, sys; print([name for name in {HEAVY} if name in sys.modules])"


def test_nothing_heavy_is_imported_before_the_first_request() -> None:
    """A function that sleeps most of the time starts without the libraries that its first call may not need."""
    environ = {
        **os.environ,
        "TORPOR_DATABASE_URL": "postgresql://nowhere/",
        "TORPOR_SIGNING_KEYS": json.dumps(generate()),
    }

    shown = subprocess.run([sys.executable, "-c", SHOW], env=environ, capture_output=True, text=True, check=True)

    assert shown.stdout == "[]\n"
