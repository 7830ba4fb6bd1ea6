"""The stage of asynchronous inference, with room for one call of a server at a time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.inference.stage import Stage, stage


@pytest.fixture
async def inference(database_url: str, s3_endpoint: dict[str, str], tmp_path: Path) -> AsyncIterator[Stage]:
    """A running stage."""
    async with stage(database_url, s3_endpoint, tmp_path, inference_per_server=1) as running:
        yield running
