"""A model that a server is going over to, or coming from, is as much in use as one that is served."""

from typing import Any

import pytest


@pytest.fixture
def world_of(make_world: Any, source: Any) -> Any:
    """The function, and a hub to fetch from."""
    return make_world(hf_endpoint=source.url)


@pytest.mark.parametrize("column", ["model_uuid", "previous_model_uuid"])
async def test_a_model_on_trial_is_not_deleted(world_of: Any, column: str) -> None:
    """409 names the server; when the rollout is over, its models are free."""
    record = await world_of.pull("hf://acme/model")
    await world_of.deliver()
    uuids = {"model_uuid": "other", "previous_model_uuid": "other", column: record["uuid"]}
    await world_of.db.execute(
        "INSERT INTO rollouts (uuid, server_uuid, server_name, namespace, strategy, model_uuid, model_name, "
        "previous_model_uuid, previous_model_name, stable_revision) "
        "VALUES ('r', 's', 'my-server', 'torpor', 'canary', $1, 'm', $2, 'm', 'my-server-00001')",
        uuids["model_uuid"],
        uuids["previous_model_uuid"],
    )
    refused = await world_of.client.delete("/models/model")
    assert (refused.status_code, "my-server" in refused.json()["detail"]) == (409, True)
    await world_of.db.execute("UPDATE rollouts SET finished_at = now()")
    assert (await world_of.client.delete("/models/model")).is_success
