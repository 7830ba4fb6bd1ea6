"""One Torpor on a cluster, as its manifests and Secrets describe it: where it answers, who may enter, what is awake."""

import base64
from dataclasses import dataclass, field
from typing import Any, Final

from kn_model.client import Client
from kn_model.cluster.kubectl import Kubectl
from kn_model.failure import Exit, Failure
from kn_model.laptop import ADMIN_SECRET, Admin
from kn_model.session import log_in

SETTINGS: Final = "torpor"
_REVISION_OF: Final = "serving.knative.dev/service"


@dataclass(frozen=True, slots=True)
class Installation:
    """The one in namespace `torpor` of the cluster that `kubectl` speaks to."""

    kubectl: Kubectl = field(default_factory=Kubectl)

    def url(self) -> str:
        """Where people reach it: `public-url` of its ConfigMap. Raises Failure where nothing is installed."""
        found = self.kubectl.get("configmap", SETTINGS)
        if found is None:
            raise Failure(
                "Torpor is not installed there",
                why=f"The cluster has no ConfigMap {SETTINGS} in the namespace torpor.",
                do="task deploy OVERLAY=dev, or on one machine: kn model up.",
                code=Exit.NOT_RUNNING,
            )
        return str(found["data"]["public-url"]).rstrip("/")

    def admin(self) -> Admin:
        """The first administrator. Raises Failure where the setup Job has not made one yet."""
        found = self.kubectl.get("secret", ADMIN_SECRET)
        if found is None:
            raise Failure(
                f"there is no Secret {ADMIN_SECRET}",
                why="The setup Job makes it.",
                do="kubectl --namespace torpor logs job/torpor-setup shows how far it is.",
            )
        name, password = (base64.b64decode(found["data"][key]).decode() for key in ("username", "password"))
        return Admin(name, password)

    def log_in(self) -> Client:
        """A client of the first administrator, whose token is renewed when it expires."""
        url, admin = self.url(), self.admin()

        def token() -> str:
            return log_in(url, admin.username, admin.password).token

        return Client(url, token(), renew=token)

    def awake(self, server: str) -> str:
        """The revisions of a server that have replicas, for a message; empty when it sleeps. Asking wakes nothing."""
        found: Any = self.kubectl.get("revisions.serving.knative.dev", "--selector", f"{_REVISION_OF}={server}")
        counts = {
            item["metadata"]["name"]: int(item.get("status", {}).get("actualReplicas") or 0)
            for item in (found or {"items": []})["items"]
        }
        return ", ".join(f"{name} ({count})" for name, count in counts.items() if count)

    def traffic(self, server: str) -> dict[str, int]:
        """Revision -> percent of the calls that it gets, as Knative says; without those that get none."""
        found: Any = self.kubectl.get("services.serving.knative.dev", server)
        entries = (found or {}).get("status", {}).get("traffic", [])
        shares: dict[str, int] = {}
        for entry in entries:
            shares[entry["revisionName"]] = shares.get(entry["revisionName"], 0) + int(entry.get("percent") or 0)
        return {name: percent for name, percent in shares.items() if percent}
