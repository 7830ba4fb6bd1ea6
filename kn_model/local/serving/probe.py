"""Asks an instance whether it is started, ready or alive, as its manifest's probes say.

Called by `instance.py`. A probe answers True or False and never raises. Defaults are Knative's
(knative/serving `pkg/queue/readiness/probe.go`), not Kubernetes', except for one: see QUICK_TIMEOUT_S.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

QUICK_PERIOD_S: Final = 0.02
"""Knative asks every 50 ms when periodSeconds is 0; a loopback connect costs 0.1 ms, so ask sooner."""
QUICK_TIMEOUT_S: Final = 1.0
"""Knative gives such a probe 100 ms; two cores that start several processes at once need more."""
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container, with all defaults filled in. Times in seconds."""

    spec: Mapping[str, Any]
    port: int
    period_s: float
    timeout_s: float
    failures: int
    """Failed answers in a row that count as a failure."""
    delay_s: float

    async def passes(self) -> bool:
        """Ask once."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._ask()
        except (OSError, TimeoutError):
            return False

    async def _ask(self) -> bool:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            if "httpGet" not in self.spec:
                return True
            writer.write(_request(self.spec["httpGet"], self.port))
            line = (await reader.readline()).split()
        finally:
            writer.close()
        with contextlib.suppress(IndexError, ValueError):
            return 200 <= int(line[1]) < 400  # noqa: PLR2004  # what a kubelet takes for success
        return False


def probe(spec: Mapping[str, Any] | None, port: int) -> Probe:
    """A probe with defaults; None is Knative's own: a TCP connect to the user's port."""
    given = spec or {}
    period = given.get("periodSeconds") or 0
    return Probe(
        spec=given,
        # Whatever port the manifest names is the container's; here the runtime chose another and told it as PORT.
        port=port,
        period_s=period or QUICK_PERIOD_S,
        timeout_s=(given.get("timeoutSeconds") or 1) if period else QUICK_TIMEOUT_S,
        failures=given.get("failureThreshold") or 3,
        delay_s=given.get("initialDelaySeconds") or 0,
    )


def _request(get: Mapping[str, Any], port: int) -> bytes:
    path = get.get("path") or "/"
    headers = {"Host": f"{LOOPBACK}:{port}", "User-Agent": "kube-probe/1.37", "Connection": "close"}
    headers |= {header["name"]: header["value"] for header in get.get("httpHeaders") or []}
    head = [f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1"]
    return "\r\n".join([*head, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()
