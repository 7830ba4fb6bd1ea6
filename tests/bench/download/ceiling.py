"""What the S3 server takes at most: a raw multipart upload out of memory, in a process of its own.

    python -m tests.bench.download.ceiling ENDPOINT ACCESS_KEY SECRET_KEY BUCKET MEGABYTES PART_MIB THREADS

Prints seconds from the first part to the completed object.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config

MIB = 1 << 20


def upload(arguments: list[str]) -> float:
    """See above."""
    endpoint, access_key, secret_key, bucket, megabytes, part_mib, threads = arguments
    client: Any = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            max_pool_connections=32,
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
        ),
    )
    size = int(part_mib) * MIB
    block = os.urandom(size)
    place = {"Bucket": bucket, "Key": "ceiling"}
    numbers = range(1, -(-int(megabytes) * 1_000_000 // size) + 1)
    started = time.monotonic()
    place["UploadId"] = client.create_multipart_upload(**place)["UploadId"]

    def put(number: int) -> dict[str, object]:
        return {"PartNumber": number, "ETag": client.upload_part(**place, PartNumber=number, Body=block)["ETag"]}

    with ThreadPoolExecutor(int(threads)) as pool:
        parts = list(pool.map(put, numbers))
    client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    seconds = time.monotonic() - started
    client.delete_object(Bucket=bucket, Key="ceiling")
    return seconds * int(megabytes) * 1_000_000 / (len(numbers) * size)


if __name__ == "__main__":
    print(upload(sys.argv[1:]))  # noqa: T201  # its answer to who started it
