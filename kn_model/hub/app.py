"""The hub's routes: what huggingface_hub and Torpor's download function ask of the real one.

Model information, the file tree, `resolve` with its metadata headers, and a content host of its own address for large
files, to which `resolve` redirects. Header and error names are those of huggingface_hub's client (`utils/_http.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from kn_model.hub import ranges
from kn_model.hub.repository import MAIN, Blob, Repositories, RepositoryNotFound, RevisionNotFound, Snapshot

_CHUNK: Final = 1024 * 1024
_REPOSITORIES: Final = web.AppKey("repositories", Repositories)
_CONTENT_URL: Final[web.AppKey[Callable[[], str]]] = web.AppKey("content_url")
_TITLES: Final = {
    "RepoNotFound": "Repository not found",
    "RevisionNotFound": "Invalid rev id",
    "EntryNotFound": "Entry not found",
    "GatedRepo": "Access to this repository is restricted",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build(repositories: Repositories, content_url: Callable[[], str]) -> web.Application:
    """The application. content_url: the base of the content host, asked at each redirect since ports come late."""
    app = web.Application(middlewares=[_named_errors])
    app[_REPOSITORIES] = repositories
    app[_CONTENT_URL] = content_url
    app.add_routes(
        [
            web.get("/api/models/{owner}/{name}", info),
            web.get("/api/models/{owner}/{name}/revision/{revision}", info),
            web.get("/api/models/{owner}/{name}/tree/{revision}", tree),
            web.get("/{owner}/{name}/resolve/{revision}/{path:.+}", resolve),
            web.get("/cdn/{owner}/{name}/{commit}/{path:.+}", content),
        ]
    )
    return app


async def info(request: web.Request) -> web.StreamResponse:
    """`GET /api/models/{owner}/{name}[/revision/{revision}]`: commit and file names, sizes and digests with ?blobs."""
    owner, name = request.match_info["owner"], request.match_info["name"]
    snapshot = await _snapshot(request)
    with_blobs = request.query.get("blobs", "").lower() in {"1", "true"}
    gated = request.app[_REPOSITORIES].tokens(owner, name) is not None
    siblings = [_sibling(blob) if with_blobs else {"rfilename": blob.path} for blob in snapshot.blobs.values()]
    repo_id = f"{owner}/{name}"
    return web.json_response(
        {
            "_id": snapshot.commit[:24],
            "id": repo_id,
            "modelId": repo_id,
            "author": owner,
            "sha": snapshot.commit,
            "private": False,
            "gated": "manual" if gated else False,
            "disabled": False,
            "tags": [],
            "siblings": siblings,
        }
    )


async def tree(request: web.Request) -> web.StreamResponse:
    """`GET /api/models/{owner}/{name}/tree/{revision}`: every file, as the client's `list_repo_tree` reads it."""
    snapshot = await _snapshot(request)
    return web.json_response([_tree_entry(blob) for blob in snapshot.blobs.values()])


async def resolve(request: web.Request) -> web.StreamResponse:
    """`GET, HEAD /{owner}/{name}/resolve/{revision}/{path}`: the file, or for a large one a redirect to its content."""
    owner, name = request.match_info["owner"], request.match_info["name"]
    _require_access(request, owner, name)
    snapshot = await _snapshot(request)
    blob = _entry(snapshot, request.match_info["path"])
    headers = {"X-Repo-Commit": snapshot.commit, "X-Linked-Size": str(blob.size), "X-Linked-Etag": f'"{blob.etag}"'}
    if blob.sha256 is None:
        return await _send(request, blob, headers)
    place = "/".join(quote(part, safe="/") for part in ("cdn", owner, name, snapshot.commit, blob.path))
    location = f"{request.app[_CONTENT_URL]()}/{place}"
    return web.Response(status=302, headers={**headers, "ETag": f'"{blob.etag}"', "Location": location})


async def content(request: web.Request) -> web.StreamResponse:
    """`GET, HEAD /cdn/...`: the bytes, with ranges. Where the real hub signs addresses, this one binds to loopback."""
    snapshot = await _snapshot(request, request.match_info["commit"])
    return await _send(request, _entry(snapshot, request.match_info["path"]), {})


def _sibling(blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": blob.path, "size": blob.size, "blobId": blob.git_oid}
    if blob.sha256 is not None:
        entry["lfs"] = {"sha256": blob.sha256, "size": blob.size, "pointerSize": blob.pointer_size}
    return entry


def _tree_entry(blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": blob.path, "size": blob.size, "oid": blob.git_oid}
    if blob.sha256 is not None:
        entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": blob.pointer_size}
    return entry


async def _snapshot(request: web.Request, revision: str | None = None) -> Snapshot:
    where = request.match_info
    wanted = revision or where.get("revision", MAIN)
    return await asyncio.to_thread(request.app[_REPOSITORIES].snapshot, where["owner"], where["name"], wanted)


def _entry(snapshot: Snapshot, path: str) -> Blob:
    if path not in snapshot.blobs:
        raise _refusal(404, "EntryNotFound")
    return snapshot.blobs[path]


def _require_access(request: web.Request, owner: str, name: str) -> None:
    tokens = request.app[_REPOSITORIES].tokens(owner, name)
    if tokens is None:
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise _refusal(401, "GatedRepo")
    if token not in tokens:
        raise _refusal(403, "GatedRepo")


async def _send(request: web.Request, blob: Blob, headers: dict[str, str]) -> web.StreamResponse:
    part = ranges.answer(blob.size, blob.etag, request.headers.get("Range"), request.headers.get("If-Range"))
    response = web.StreamResponse(status=part.status, headers={**headers, **part.headers})
    response.headers["ETag"] = f'"{blob.etag}"'
    response.headers["Accept-Ranges"] = "bytes"
    response.content_type = "application/octet-stream"
    response.content_length = part.end - part.start
    await response.prepare(request)
    if request.method != "HEAD":
        await _copy(blob, part, response)
    await response.write_eof()
    return response


async def _copy(blob: Blob, part: ranges.Answer, response: web.StreamResponse) -> None:
    with blob.location.open("rb") as file:
        file.seek(part.start)
        left = part.end - part.start
        while left and (chunk := await asyncio.to_thread(file.read, min(_CHUNK, left))):
            await response.write(chunk)
            left -= len(chunk)


@web.middleware
async def _named_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what is missing as the real hub does; an anonymous caller gets 401 for a repository that may be private."""
    try:
        return await handler(request)
    except RepositoryNotFound:
        raise _refusal(404 if "Authorization" in request.headers else 401, "RepoNotFound") from None
    except RevisionNotFound:
        raise _refusal(404, "RevisionNotFound") from None


def _refusal(status: int, code: str) -> web.HTTPException:
    kinds: dict[int, type[web.HTTPException]] = {
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
    }
    title = _TITLES[code]
    headers = {"X-Error-Code": code, "X-Error-Message": title}
    return kinds[status](headers=headers, text=f'{{"error":"{title}"}}', content_type="application/json")
