"""What S3's answers mean."""

from types import SimpleNamespace
from typing import Any

import pytest

from functions.kit.objects import S3Objects
from functions.kit.problem import Retry
from functions.kit.settings import Secret


class Answering(S3Objects):
    """A bucket whose server answers DeleteObjects with this."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("http://nowhere", "r", Secret("a"), Secret("b"), "models")
        self._answer = answer

    def _connect(self) -> Any:
        return SimpleNamespace(delete_objects=lambda **_: self._answer)


async def test_what_was_not_deleted_is_said() -> None:
    """S3 answers 200 and lists the keys that it has not deleted."""
    await Answering({}).delete(["a", "b"])
    left = {"Key": "b", "Code": "InternalError", "Message": "try again"}
    with pytest.raises(Retry, match=r"did not delete b: InternalError try again"):
        await Answering({"Errors": [left]}).delete(["a", "b"])
