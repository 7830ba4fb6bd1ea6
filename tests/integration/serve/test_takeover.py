"""Who may let a server go over to something else: whoever may use what it serves now."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.kit.identity import ACTIONS_OF_ROLE, Identity
from tests.integration.serve.world import World, add_model, world


@pytest.fixture
async def serve(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A server of the model `smol`, and an operator whose credential covers `better` alone."""
    async with world(database_url, tmp_path) as running:
        await running.running()
        await add_model(running.db, "m-2", "better")

        async def narrow(authorization: str | None) -> Identity:
            del authorization
            return Identity("a-operator", "operator", ("better",), ACTIONS_OF_ROLE["operator"], 0.0)

        running.roles.identify = narrow  # type: ignore[method-assign]  # a credential that the roles do not have
        yield running


@pytest.mark.parametrize("rollout", [{}, {"strategy": "direct"}])
async def test_a_server_of_another_credentials_model_is_left_alone(serve: World, rollout: dict[str, Any]) -> None:
    """POST /serve with a rollout is refused as PATCH is; nothing is on trial and the record says what it said."""
    asked = {"model": "better", "name": "smol", "rollout": rollout}
    taken = await serve.http.post("/serve", json=asked)
    changed = await serve.http.patch("/serve/smol", json={"model": "better", "rollout": rollout})
    assert (taken.status_code, changed.status_code) == (403, 403)
    assert taken.json()["detail"] == changed.json()["detail"] == "this credential does not cover the model smol"
    assert await serve.db.fetchval("SELECT count(*) FROM rollouts") == 0
    assert (await serve.server("smol"))["model_uuid"] == "m-1"


async def test_a_name_that_is_free_needs_no_more_than_the_model(serve: World) -> None:
    """A rollout in the request changes nothing about that."""
    answer = await serve.http.post("/serve", json={"model": "better", "rollout": {}})
    assert answer.status_code == 202
