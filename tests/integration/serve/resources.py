"""ModelServe resources in the world around `serve`: changed as people change them, told as the ApiServerSource tells."""

from pathlib import Path
from typing import Any

import yaml

from kn_model.local.admission.admit import admit
from kn_model.local.objects.kinds import Kind, Object
from tests.integration.serve.world import NAMESPACE, World

DEFINITION = Path(__file__).parents[3] / "knative" / "base" / "serve" / "modelserve.yaml"
TOKEN = "model.torpor.dev/auth-token"


class Resources:
    """The ModelServes of a world, changed as people change them; `tell` is the ApiServerSource."""

    def __init__(self, of: World) -> None:
        self.world = of
        self.store = of.cluster.store

    @property
    def kind(self) -> Kind:
        """As its definition makes it."""
        (kind,) = self.store.custom_kinds()
        return kind

    async def make(self, name: str = "smol", token: str = "", **spec: Any) -> list[int]:
        """Create one, and let everything happen that follows."""
        annotations = {TOKEN: token} if token else {}
        metadata = {"name": name, "namespace": NAMESPACE, "annotations": annotations}
        wanted = {"modelName": "smol"} if not spec.keys() & {"modelName", "modelUuid", "minioPath"} else {}
        spec = {**wanted, **spec}
        await self.store.create(
            {"apiVersion": self.kind.api_version, "kind": "ModelServe", "metadata": metadata, "spec": spec}
        )
        return await self.tell(name)

    async def change(self, name: str = "smol", **patch: Any) -> list[int]:
        """Change its spec, and let everything happen."""
        await self.store.merge_patch(self.kind, NAMESPACE, name, {"spec": patch})
        return await self.tell(name)

    async def delete(self, name: str = "smol", *, told: bool = True) -> list[int]:
        """Delete it; told: the event arrives."""
        await self.store.delete(self.kind, NAMESPACE, name)
        return await self.tell(name, "delete") if told else []

    async def tell(self, name: str = "smol", change: str = "update") -> list[int]:
        """One event about a resource, and what it leads to."""
        reference = {"apiVersion": self.kind.api_version, "kind": "ModelServe", "name": name, "namespace": NAMESPACE}
        answer = await self.world.event(f"dev.knative.apiserver.ref.{change}", reference)
        return [answer.status_code, *await self.world.deliver()]

    async def report(self, *conditions: tuple[str, str, str], replicas: int, name: str = "smol") -> None:
        """The cluster says what became of the server."""
        await self.world.tell(*await self.world.cluster.report(name, *conditions, replicas=replicas))

    def get(self, name: str = "smol") -> Object:
        """As it is stored."""
        return self.store.get(self.kind, NAMESPACE, name)

    def said(self, name: str = "smol", kind: str = "Ready") -> tuple[str, str]:
        """Status and reason of a condition."""
        found = next(each for each in self.get(name)["status"]["conditions"] if each["type"] == kind)
        return found["status"], found["reason"]

    def message(self, name: str = "smol") -> str:
        """What Ready says to people."""
        return str(next(each["message"] for each in self.get(name)["status"]["conditions"] if each["type"] == "Ready"))


async def resources_of(of: World) -> Resources:
    """The resources of a world whose cluster gets the definition."""
    await of.cluster.store.create(admit(yaml.safe_load(DEFINITION.read_text(encoding="utf-8"))))
    return Resources(of)
