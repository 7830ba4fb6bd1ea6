"""Cancel, delete and retry at every moment of a transfer: at each call that the function makes to S3."""

import asyncio
from typing import Any

import pytest

from tests.faults.hostile import Shared
from tests.faults.s3 import Call, Proxy

MOMENTS = ["CreateMultipartUpload", "UploadPart", "ListParts", "CompleteMultipartUpload", "PutObject"]


class Moment:
    """Does something when the function makes its first call of a name."""

    def __init__(self, world: Any, store: Proxy, name: str) -> None:
        self._world = world
        self._name = name
        self.uuid = ""
        self.done: asyncio.Task[Any] | None = None
        self.methods: list[tuple[str, str]] = []
        store.behave = self._look

    def _look(self, call: Call) -> None:
        if call.name == self._name and self.uuid and self.done is None:
            self.done = asyncio.create_task(self._act())

    async def _act(self) -> list[int]:
        client = self._world.client
        return [
            (await client.request(method, f"/models/{self.uuid}{path}")).status_code for method, path in self.methods
        ]


async def settled(world: Any) -> None:
    """Minutes later: the tick has taken away what was left, whoever was about to clean up."""
    await world.deliver()
    await world.db.execute("UPDATE model_records SET updated_at = now() - interval '5 min'")
    await world.db.execute("UPDATE model_files SET updated_at = now() - interval '5 min'")
    await world.tick()
    await world.deliver()
    assert await world.uploads() == []


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize(
    ("methods", "status"),
    [
        ([("POST", "/cancel")], "failed"),
        ([("DELETE", "")], "deleted"),
        ([("POST", "/cancel"), ("DELETE", "")], "deleted"),
        ([("POST", "/cancel"), ("POST", "/retry")], "available"),
    ],
    ids=["cancel", "delete", "cancel and delete", "cancel and retry"],
)
async def test_at_any_moment(world_of: Any, store: Proxy, shared: Shared, name: str, methods: Any, status: str) -> None:  # noqa: PLR0913, PLR0917  # fixtures and parameters
    """It has its effect at once or is refused as too late; no upload is left, and nothing half is published."""
    moment = Moment(world_of, store, name)
    moment.methods = methods
    record = await world_of.pull("hf://acme/model")
    moment.uuid = record["uuid"]
    await world_of.deliver()
    assert moment.done is not None, f"no call of {name} was made"
    answers = await moment.done
    await settled(world_of)
    model = await world_of.model(record["uuid"])
    if answers[0] == 409:
        # The last byte was verified first, which only what comes last can find.
        assert name in {"ListParts", "CompleteMultipartUpload", "PutObject"}
        assert model["status"] in {"available", status}
    else:
        assert model["status"] == status
    manifest = await world_of.objects.get(f"manifests/{record['uuid']}.json")
    assert (manifest is not None) == (model["status"] == "available")
    if model["status"] == "available":
        assert await world_of.stored(record["uuid"]) == {shared.path: shared.content}
