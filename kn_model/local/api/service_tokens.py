"""Tokens of the runtime's API: one for the administrator, one for each ServiceAccount, as a cluster mounts them.

Called by the supervisor; the API asks `user_of` for every call, the launcher `folder_of` for every instance.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Final

from kn_model.local.state import write_private

ADMINISTRATOR: Final = "kubernetes-admin"
TOKEN_BYTES: Final = 32


class ServiceTokens:
    """Tokens in `folder`: `<namespace>/<service account>/token`. They are made anew at every start of the runtime."""

    def __init__(self, folder: Path, ca: Path) -> None:
        """ca: the PEM file of the API's certificate, which goes beside each token."""
        self._folder = folder
        self.ca = ca
        # By hash: a lookup's timing then says nothing about a token.
        self._users: dict[bytes, str] = {}
        self._folders: dict[tuple[str, str], Path] = {}
        self.administrator = self._token_for(ADMINISTRATOR)

    def folder_of(self, namespace: str, account: str) -> Path:
        """The folder with the token of a ServiceAccount, as `/var/run/secrets/kubernetes.io/serviceaccount` has it."""
        key = (namespace, account)
        if key not in self._folders:
            folder = self._folder / namespace / account
            folder.mkdir(parents=True, exist_ok=True)
            write_private(folder / "token", self._token_for(f"system:serviceaccount:{namespace}:{account}"))
            write_private(folder / "namespace", namespace)
            write_private(folder / "ca.crt", self.ca.read_text())
            self._folders[key] = folder
        return self._folders[key]

    def user_of(self, token: str) -> str | None:
        """Whose token this is, in Kubernetes' names for users; None for nobody's."""
        return self._users.get(_digest(token))

    def _token_for(self, user: str) -> str:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._users[_digest(token)] = user
        return token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
