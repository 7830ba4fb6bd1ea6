"""The contest of candidates."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.kit.objects import S3Objects
from tests.integration.evaluation.stage import Contest, contest


@pytest.fixture
async def running(
    database_url: str, s3_endpoint: dict[str, str], objects: S3Objects, tmp_path: Path
) -> AsyncIterator[Contest]:
    """A running contest; no alias has a winner yet."""
    await objects.delete([each.key for each in await objects.keys("promotions/")])
    async with contest(database_url, s3_endpoint, tmp_path) as started:
        yield started
