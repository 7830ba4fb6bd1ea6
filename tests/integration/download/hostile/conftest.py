"""The function between a hub that can do anything and an S3 that can answer anything.

hostile    the hub, honest until told otherwise, with one file `shared` that no other test has: `acme/model`
store      the proxy in front of the real S3; `objects`, and so the function, speak to S3 through it
world_of   the function
"""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from tests.faults.hostile import MIB, Hostile, Shared, tensor_file
from tests.faults.s3 import Proxy

# Two parts and a bit.
SIZE = 11 * MIB


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    """The hub."""
    async with Hostile().serving() as server:
        yield server


@pytest.fixture
def shared(hostile: Hostile, request: pytest.FixtureRequest) -> Shared:
    """Its one file."""
    return hostile.share("model", tensor_file(SIZE, random.Random(request.node.name)))  # noqa: S311  # no secret


@pytest.fixture
async def store(s3_endpoint: dict[str, str]) -> AsyncIterator[Proxy]:
    """The proxy."""
    async with Proxy(s3_endpoint["endpoint"]).serving() as proxy:
        yield proxy


@pytest.fixture
def objects(store: Proxy, s3_endpoint: dict[str, str]) -> S3Objects:
    """The bucket, through the proxy. What is wrong is seen at once: that the SDK repeats calls is not what is tested."""
    keys = (Secret(s3_endpoint["access_key"]), Secret(s3_endpoint["secret_key"]))
    return S3Objects(store.url, s3_endpoint["region"], *keys, s3_endpoint["bucket"], attempts=1)


@pytest.fixture
def world_of(make_world: Any, hostile: Hostile) -> Any:
    """The function, between the two."""
    return make_world(hf_endpoint=hostile.url)


@pytest.fixture
def arrives(world_of: Any, shared: Shared) -> Any:
    """Assert that the right bytes of a model are there, and that nothing of it is left over."""

    async def check(uuid: str) -> None:
        model = await world_of.model(uuid)
        assert (model["status"], model["error"]) == ("available", None)
        assert await world_of.stored(uuid) == {shared.path: shared.content}
        assert await world_of.uploads() == []

    return check
