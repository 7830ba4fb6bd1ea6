"""What the manifests say about streams, beside what the code does."""

from collections.abc import Sequence

from functions.status.newsroom import MOST
from functions.status.stream import FAREWELL_S, STREAM_S
from tests.manifests.conftest import Object


def test_a_stream_ends_before_the_service_would_cut_it(objects: Sequence[Object]) -> None:
    """With time for the farewell; and as many as an instance takes are let through to it."""
    (status,) = [
        each["spec"]["template"]["spec"]
        for each in objects
        if each["apiVersion"].startswith("serving") and each["metadata"]["name"] == "status"
    ]
    assert STREAM_S + FAREWELL_S < status["timeoutSeconds"]
    assert status["containerConcurrency"] >= MOST
