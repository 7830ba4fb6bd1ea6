"""The installation's policy on model signatures: what a plan has to fetch, and what becomes of a model. Pure.

`planning` asks which files belong to it, `publish` judges when the digests are known, before there is a manifest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from functions.download import signatures
from functions.download.plan import RemoteFile
from functions.download.problems import SourceRefused
from functions.download.signatures import Key, Policy, Unsigned


class Outcome(StrEnum):
    """What was found."""

    VERIFIED = "verified"
    ABSENT = "absent"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcome, the key that signed (SHA-256 of its PEM), and why not, for people."""

    outcome: Outcome
    key: str = ""
    detail: str = ""

    def document(self) -> dict[str, Any]:
        """As model_records.signature keeps it and GET /models/{id} shows it."""
        return {"outcome": self.outcome, "key": self.key or None, "detail": self.detail or None}


@dataclass(frozen=True, slots=True)
class Vouching:
    """One installation's policy and the keys that it trusts."""

    policy: Policy
    keys: Sequence[Key]

    def with_signature(self, chosen: Sequence[RemoteFile], offered: Sequence[RemoteFile]) -> list[RemoteFile]:
        """The files of a plan and, where the policy looks at it, the signature. Raises SourceRefused when it has to be."""
        if self.policy is Policy.NONE or any(file.path == signatures.FILE for file in chosen):
            return list(chosen)
        found = [file for file in offered if file.path == signatures.FILE and file.size <= signatures.MAX_BYTES]
        if not found and self.policy is Policy.REQUIRED:
            raise SourceRefused("signature-missing", _missing())
        return [*chosen, *found]

    def judge(self, bundle: bytes | None, files: Mapping[str, str]) -> Verdict | None:
        """About the files of a model (SHA-256 by path); None where nobody is to look."""
        if self.policy is Policy.NONE:
            return None
        if bundle is None:
            return Verdict(Outcome.ABSENT, detail=f"there is no {signatures.FILE}")
        signed = {path: sha256 for path, sha256 in files.items() if path != signatures.FILE}
        try:
            key = signatures.verify(bundle, self.keys, signed)
        except Unsigned as error:
            return Verdict(Outcome.INVALID, detail=f"{signatures.FILE}: {error}")
        return Verdict(Outcome.VERIFIED, key.name)

    def refusal(self, verdict: Verdict | None) -> tuple[str, str] | None:
        """Code and reason when the policy does not let the model be; None when it does."""
        if verdict is None or verdict.outcome is Outcome.VERIFIED:
            return None
        if verdict.outcome is Outcome.INVALID:
            return "signature-invalid", f"{verdict.detail}; it is not published (policy {self.policy})"
        return ("signature-missing", _missing()) if self.policy is Policy.REQUIRED else None


def _missing() -> str:
    return (
        f"the source has no {signatures.FILE}, and this installation takes signed models alone: have its maker sign it "
        "(`model_signing sign key`), or have the operator change TORPOR_SIGNATURE_POLICY"
    )
