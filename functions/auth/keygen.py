"""`python -m functions.auth.keygen`: prints a fresh private JWKS for the Secret `torpor-auth`, key `signing-keys`.

An operator runs it once for a cluster, and again to rotate: the new key goes first in the set, the old one stays behind
it until its last token has expired. On the laptop the runtime runs it.
"""

import sys

import msgspec

from functions.auth.signing import generate


def main() -> None:
    """Print one private JWKS to standard output, fit for `kubectl create secret --from-file=signing-keys=/dev/stdin`."""
    sys.stdout.write(msgspec.json.encode(generate()).decode() + "\n")


if __name__ == "__main__":
    main()
