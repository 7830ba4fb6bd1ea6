"""How to reach an S3 bucket, and AWS Signature Version 4 for one request without a body.

Called by `seaweed.py` to ask whether the S3 server takes writes; a whole S3 client would cost the supervisor 40 MB.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime

EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Credentials:
    """How a client reaches a bucket: the same values as the Secret `torpor-s3`.

    status_url: where the store says what it has free; empty where it does not.
    """

    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    status_url: str = ""


def sign(method: str, path: str, to: Credentials, now: datetime) -> dict[str, str]:
    """The headers that authorise `method path` at the endpoint, with an empty body, at `now` (UTC)."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{to.region}/s3/aws4_request"
    headers = {"host": to.endpoint.partition("://")[2], "x-amz-content-sha256": EMPTY, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = hashlib.sha256(f"{method}\n{path}\n\n{lines}\n{names}\n{EMPTY}".encode()).hexdigest()
    derived = f"AWS4{to.secret_key}".encode()
    for part in scope.split("/"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    signature = hmac.digest(derived, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{request}".encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={to.access_key}/{scope}"
    return headers | {"authorization": f"{credential}, SignedHeaders={names}, Signature={signature}"}
