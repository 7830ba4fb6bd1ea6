"""Sources that lie in S3: what their tests share.

source_bucket   a bucket beside the models', with a model and something beside it
"""

from collections.abc import AsyncIterator

import pytest

from functions.kit.objects import S3Objects
from functions.kit.settings import Secret
from tests.integration.download.conftest import tensor_file

MIB = 1024 * 1024


@pytest.fixture
async def source_bucket(s3_endpoint: dict[str, str]) -> AsyncIterator[S3Objects]:
    """A bucket beside the models', with a model under `tiny` and something beside it."""
    credentials = (Secret(s3_endpoint["access_key"]), Secret(s3_endpoint["secret_key"]))
    source = S3Objects(s3_endpoint["endpoint"], s3_endpoint["region"], *credentials, "source-bucket")
    await source._run(lambda client: client.create_bucket(Bucket=source.bucket))
    await source.put("tiny/config.json", b'{"architectures": ["LlamaForCausalLM"]}')
    await source.put("tiny/model.safetensors", tensor_file(12 * MIB))
    await source.put("tiny/", b"")
    await source.put("tinyer/model.safetensors", b"no model")
    await source.put("one.safetensors", tensor_file(6 * MIB))
    yield source
    await source.delete([info.key for info in await source.keys("")])
    await source._run(lambda client: client.delete_bucket(Bucket=source.bucket))
