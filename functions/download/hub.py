"""The hub's API as a client: pin a revision to its commit, and list its files with their digests.

Speaks what huggingface.co, its mirrors and `kn_model.hub` answer. Errors are told apart by X-Error-Code, as
huggingface_hub does, since the hub answers 401 for a repository that does not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import msgspec

from functions.download.http import SourceHttp, read_whole
from functions.download.plan import RemoteFile
from functions.download.problems import SourceRefused, SourceUnwell
from functions.download.sources import HubSource

# Model information of the largest repositories has a few MB; more is not an answer but an attack.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
_OK: Final = 200


class _Lfs(msgspec.Struct):
    sha256: str
    size: int


class _Sibling(msgspec.Struct):
    rfilename: str
    size: int | None = None
    blobId: str | None = None  # noqa: N815  # the hub's name
    lfs: _Lfs | None = None


class _Information(msgspec.Struct):
    sha: str
    siblings: list[_Sibling] = []


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source holds: revision is the pinned commit (or ETag), urls the address of each path, etags its version.

    external_id: under what number a quant service knows it. level: how it says that it is quantised.
    """

    revision: str
    files: list[RemoteFile]
    urls: Mapping[str, str]
    etags: Mapping[str, str] = field(default_factory=dict)
    external_id: int | None = None
    level: str | None = None


class Hub:
    """One hub. endpoint: its address without a trailing slash."""

    def __init__(self, endpoint: str, http: SourceHttp) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._http = http

    async def listing(self, source: HubSource) -> Listing:
        """The files of the source's revision, pinned. Raises SourceRefused, SourceUnwell."""
        path = f"{self._endpoint}/api/models/{source.repository}/revision/{quote(source.revision, safe='')}?blobs=true"
        async with self._http.get(path, {"Accept": "application/json"}) as response:
            if response.status != _OK:
                raise refusal(
                    response.status, response.headers.get("X-Error-Code", ""), source.repository, source.revision
                )
            body = await read_whole(response, MAX_ANSWER_BYTES)
        information = _decode(body)
        files = [_remote_file(sibling) for sibling in information.siblings]
        urls = {file.path: self.url(source, information.sha, file.path) for file in files}
        return Listing(information.sha, files, urls)

    def url(self, source: HubSource, commit: str, path: str) -> str:
        """Where a file of a commit is."""
        return f"{self._endpoint}/{source.repository}/resolve/{commit}/{quote(path)}"


def refusal(status: int, code: str, repository: str, revision: str) -> SourceRefused | SourceUnwell:
    """What a status of the hub means, with what to do about it."""
    if code == "GatedRepo":
        return SourceRefused("gated", _gated(status, repository))
    if code == "RevisionNotFound":
        return SourceRefused("revision-not-found", f"{repository} has no revision {revision}")
    if code == "EntryNotFound":
        return SourceRefused("file-not-found", f"{repository} no longer has this file at {revision}")
    if status in {401, 403, 404} or code == "RepoNotFound":
        return SourceRefused(
            "repository-not-found",
            f"{repository} does not exist on the hub, or is private: check the name, and if it is private set "
            "TORPOR_HF_TOKEN to a token that may read it",
        )
    return SourceRefused("source-refused", f"the hub answered {status} for {repository}")


def _gated(status: int, repository: str) -> str:
    where = f"https://huggingface.co/{repository}"
    if status == 401:  # noqa: PLR2004  # Unauthorized: no token was sent, or it is not valid
        return f"{repository} is gated: ask for access at {where}, then set TORPOR_HF_TOKEN to a token of that account"
    return f"{repository} is gated and the account of TORPOR_HF_TOKEN has no access to it: ask for it at {where}"


def _decode(body: bytes) -> _Information:
    try:
        return msgspec.json.decode(body, type=_Information)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SourceUnwell(f"the hub's answer cannot be read: {error}") from error


def _remote_file(sibling: _Sibling) -> RemoteFile:
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, sibling.lfs.size, sha256=sibling.lfs.sha256)
    if sibling.size is None:
        raise SourceRefused("size-unknown", f"the hub does not tell the size of {ascii(sibling.rfilename)[:120]}")
    return RemoteFile(sibling.rfilename, sibling.size, git_oid=sibling.blobId)
