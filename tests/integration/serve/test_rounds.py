"""What one round of the tick meets is not the others': evaluations and resources are looked at all the same."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.kit.events import EvaluationRequested
from functions.kit.problem import Retry
from kn_model.local.objects.kinds import SERVICE
from tests.integration.serve.resources import Resources, resources_of
from tests.integration.serve.world import NAMESPACE, Json, world


@pytest.fixture
async def resources(database_url: str, tmp_path: Path) -> AsyncIterator[Resources]:
    """`serve` on a cluster that has the definition of ModelServe."""
    async with world(database_url, tmp_path, modelserve_actor="somebody") as running:
        yield await resources_of(running)


async def test_evaluations_are_driven_while_the_cluster_is_away(resources: Resources) -> None:
    """The tick is answered 503 for the rounds that need the Kubernetes API."""
    await resources.world.db.execute(
        "INSERT INTO evaluations (uuid, namespace, alias, fingerprint, prompts, min_score, models, deadline_at, updated_at)"
        " VALUES ('e-1', $1, 'best', 'f', 1, 0.5, '{}', now(), now() - interval '1 hour')",
        NAMESPACE,
    )

    async def away(resource: str, **query: str) -> Json | None:
        raise Retry(1, f"the Kubernetes API does not answer: {resource} {query}")

    resources.world.api.get = away  # type: ignore[method-assign]  # reads fail as well
    assert await resources.world.tick() == 503
    assert EvaluationRequested.TYPE in resources.world.broker.types()


async def test_a_resource_that_the_api_refuses_is_not_the_others(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    """No bad luck but a refusal: those after it are made on the same tick, and the log names it."""
    await resources.make()
    await resources.change(replicas=2)
    await resources.store.merge_patch(resources.kind, NAMESPACE, "smol", {"spec": {"replicas": 3}})
    metadata = {"name": "tiny", "namespace": NAMESPACE}
    obj: dict[str, Any] = {"apiVersion": resources.kind.api_version, "kind": "ModelServe", "metadata": metadata}
    await resources.store.create({**obj, "spec": {"modelUuid": "m-1"}})
    resources.world.cluster.faults = [(403, "modelserves/status is forbidden")]
    await resources.world.tick()
    await resources.world.deliver()
    assert resources.world.cluster.names(SERVICE) == ["smol", "tiny"]
    assert "the ModelServe smol could not be looked at" in caplog.text


async def test_a_key_that_no_column_holds_is_said_in_the_status(resources: Resources) -> None:
    """It is not looked up again for the status: that would fail as well."""
    assert await resources.make(modelName="smol\x00") == [204]
    assert resources.said(kind="Deployed") == ("False", "Reject")
