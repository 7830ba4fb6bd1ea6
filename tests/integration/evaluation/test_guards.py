"""What keeps an evaluation from going on where somebody else has moved it, and its pointer from going back."""

import msgspec
import pytest

from functions.kit.bus import Unit
from functions.kit.objects import S3Objects
from functions.kit.problem import Retry
from functions.serve.evaluation import pointer, rows
from functions.serve.evaluation.pointer import Pointer, point
from tests.integration.evaluation.stage import Contest


def chosen(number: int) -> Pointer:
    """The winner of the evaluation of this number."""
    return Pointer("best", number, f"e-{number}", f"m-{number}", "right", 1.0)


class Contended(S3Objects):
    """A bucket in which somebody else writes between our look and our write."""

    def __init__(self, objects: S3Objects) -> None:
        self.__dict__ = dict(objects.__dict__)

    async def put(self, key: str, data: bytes | bytearray, *, if_none_match: bool = False, if_match: str = "") -> str:
        """Second."""
        await super().put(key, b'{"number": 1}')
        return await super().put(key, data, if_none_match=if_none_match, if_match=if_match)


async def test_the_pointer_never_goes_back(running: Contest) -> None:
    """Whatever PostgreSQL says: S3 alone keeps the newer one. The same again is the same."""
    written = [await point(running.objects, chosen(number)) for number in (2, 2, 1, 3)]
    assert (written, await running.pointer()) == ([True, True, False, True], msgspec.to_builtins(chosen(3)))


@pytest.mark.parametrize("there", [False, True])
async def test_two_who_write_at_once_look_again(running: Contest, there: bool) -> None:  # noqa: FBT001  # a parameter
    """The one who was slower writes nothing, and comes again."""
    if there:
        await running.objects.put(pointer.key("best"), b'{"number": 0}')
    with pytest.raises(Retry):
        await point(Contended(running.objects), chosen(2))
    assert await running.pointer() == {"number": 1}


@pytest.mark.parametrize("damaged", [b"", b"{", b"\xff", b"[]"])
async def test_what_is_no_pointer_is_replaced(running: Contest, damaged: bytes) -> None:
    """It names nobody's winner."""
    await running.objects.put(pointer.key("best"), damaged)
    assert await point(running.objects, chosen(1)) is True
    assert (await running.pointer() or {})["number"] == 1


async def test_whoever_moved_it_meanwhile_goes_on_with_it(running: Contest) -> None:
    """What was worked out for a state that is over is not written."""
    uuid, world = await running.asked(), running.stage.world
    seen = await rows.read(world.db, uuid)
    assert seen is not None
    async with world.db.transaction() as connection:
        assert await rows.unchanged(_unit(connection), seen)
    await world.http.delete(f"/evaluations/{uuid}")
    async with world.db.transaction() as connection:
        assert not await rows.unchanged(_unit(connection), seen)


def _unit(connection: object) -> Unit:
    return Unit(connection, None, "/test", {}, str)
