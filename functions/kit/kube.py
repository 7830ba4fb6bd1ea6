"""A small client of the Kubernetes API: the few verbs that Torpor needs, on JSON objects.

Used by serve (Knative Services, HTTPRoutes) and by the setup Job (one Secret). Inside a cluster it uses the pod's
service account; the laptop's stand-in for the API is reached the same way, by settings.
Writes ask for `fieldValidation=Strict`: without it the API server drops unknown fields silently.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from functions.kit import trace
from functions.kit.problem import Retry

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
TIMEOUT_S: Final = 15.0
FIELD_MANAGER: Final = "torpor"
_STRICT: Final = {"fieldValidation": "Strict", "fieldManager": FIELD_MANAGER}
_NOT_FOUND: Final = 404
_FIRST_ERROR: Final = 400
# What the API server means to pass by itself: throttling, overload, a restart.
_PASSING: Final = frozenset({429, 500, 502, 503, 504})

Json = dict[str, Any]


class KubeError(Exception):
    """The API refused a call: HTTP status, reason (`Conflict`, `Invalid`, ...) and its message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


def path(api_version: str, plural: str, namespace: str, name: str = "") -> str:
    """The URL path of a namespaced resource, or of its collection when no name is given."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    return f"{root}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


class Kube:
    """One API server. Raises KubeError for a refusal and Retry when it does not answer or is overloaded."""

    def __init__(self, url: str, credentials: str = SERVICE_ACCOUNT) -> None:
        """credentials: a folder with `token` and, for https, `ca.crt`, as a service account's volume has them."""
        self._url = url.rstrip("/")
        self._credentials = Path(credentials)
        self._session: Any = None

    async def get(self, resource: str, **query: str) -> Json | None:
        """The object or list, or None when absent."""
        try:
            return await self._request("GET", resource, query=query)
        except KubeError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def create(self, collection: str, body: Mapping[str, Any]) -> Json:
        """POST a new object. KubeError 409 AlreadyExists when its name is taken."""
        return await self._request("POST", collection, body, query=_STRICT)

    async def replace(self, resource: str, body: Mapping[str, Any]) -> Json:
        """PUT an object; its metadata.resourceVersion makes it conditional (KubeError 409 Conflict)."""
        return await self._request("PUT", resource, body, query=_STRICT)

    async def patch(self, resource: str, body: Mapping[str, Any]) -> Json:
        """JSON merge patch (RFC 7396)."""
        return await self._request("PATCH", resource, body, query=_STRICT, content_type="application/merge-patch+json")

    async def delete(self, resource: str) -> bool:
        """Delete an object with what it owns; False when it was absent."""
        try:
            await self._request("DELETE", resource, query={"propagationPolicy": "Background"})
        except KubeError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True

    async def close(self) -> None:
        """Close the session, if it was ever opened; for a process that ends while its event loop does."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(
        self,
        method: str,
        resource: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str],
        content_type: str = "application/json",
    ) -> Json:
        import aiohttp

        headers = {"accept": "application/json", "content-type": content_type, "traceparent": trace.current()}
        headers |= self._authorization()
        data = msgspec.json.encode(body) if body is not None else None
        try:
            session = self._open()
            async with session.request(
                method, self._url + resource, data=data, params=query, headers=headers
            ) as answer:
                return _checked(answer.status, await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retry(2, f"the Kubernetes API does not answer ({type(error).__name__}); try again") from error

    def _authorization(self) -> dict[str, str]:
        """Read the token at each call: kubelet replaces it while we run."""
        token = self._credentials / "token"
        return {"authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}

    def _open(self) -> Any:
        import ssl

        import aiohttp

        if self._session is None:
            authority = self._credentials / "ca.crt"
            context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
            )
        return self._session


def _checked(status: int, raw: bytes) -> Json:
    try:
        document = msgspec.json.decode(raw or b"{}", type=Json)
    except msgspec.MsgspecError:
        document = {"message": raw[:200].decode(errors="replace")}
    if status in _PASSING:
        raise Retry(2, f"the Kubernetes API answered {status}: {document.get('message', '')}")
    if status >= _FIRST_ERROR:
        raise KubeError(status, str(document.get("reason", "")), str(document.get("message", "")))
    return document
