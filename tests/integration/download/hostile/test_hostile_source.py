"""Sources that lie, drip, loop and bomb: the right bytes arrive, or the model has failed and says why. Nothing wrong is published."""

import gzip
from typing import Any

import pytest

from tests.faults.hostile import COMMIT, MIB, Answer, Asked, Hostile, Shared


async def pulled(world: Any) -> tuple[dict[str, Any], Any]:
    """Pull `acme/model` to its end: its row, and what is stored of it; no upload is left behind."""
    record = await world.pull("hf://acme/model")
    await world.deliver()
    assert await world.uploads() == []
    return await world.model(record["uuid"]), await world.stored(record["uuid"])


async def arrives(world: Any, shared: Shared) -> None:
    """Assert that the right bytes arrive."""
    model, stored = await pulled(world)
    assert (model["status"], model["error"]) == ("available", None)
    assert stored == {shared.path: shared.content}


async def fails(world: Any, code: str, *words: str) -> None:
    """Assert that the model fails for this reason, named in these words, and that nothing of it is published."""
    model, _ = await pulled(world)
    assert (model["status"], model["error_code"]) == ("failed", code)
    assert [word for word in words if word not in model["error"]] == []
    assert await world.objects.get(f"manifests/{model['uuid']}.json") is None


async def test_a_file_that_is_shorter_than_it_was_said_to_be_fails(
    world_of: Any, hostile: Hostile, shared: Shared
) -> None:
    """Truncated at its source: Content-Range tells."""

    def truncated(asked: Asked) -> Answer:
        answer, short = Answer.of(asked), len(shared.content) - MIB
        answer.headers["Content-Range"] = f"bytes {asked.start}-{min(asked.end, short) - 1}/{short}"
        answer.body = shared.content[asked.start : min(asked.end, short)]
        return answer

    hostile.behave = truncated
    await fails(world_of, "source-changed", "the source sends", "retry the model")


async def test_a_range_that_ends_early_is_gone_on_with(world_of: Any, hostile: Hostile, shared: Shared) -> None:
    """Each answer brings half of what it announced, then the connection ends."""

    def halved(asked: Asked) -> Answer:
        answer = Answer.of(asked)
        answer.cut_after = (len(answer.body) + 1) // 2
        return answer if len(answer.body) > 64 else Answer.of(asked)

    hostile.behave = halved
    await arrives(world_of, shared)


async def test_bytes_beyond_the_range_are_not_taken(world_of: Any, hostile: Hostile, shared: Shared) -> None:
    """More in the body than was asked for and announced: it does not leak into the next answer of that connection."""

    def more(asked: Asked) -> Answer | None:
        answer = Answer.of(asked)
        answer.length = len(answer.body)
        answer.body += b"HTTP/1.1 206 Extra\r\nContent-Length: 5\r\n\r\nextra"
        return answer if asked.before < 3 else None

    hostile.behave = more
    await arrives(world_of, shared)


@pytest.mark.parametrize("off", [-1, 1, 5 * MIB])
async def test_a_content_length_that_lies_is_not_believed(
    world_of: Any, hostile: Hostile, shared: Shared, off: int
) -> None:
    """Once, of the first answer: another length than the range has is another file; begun anew, the right one arrives."""

    def lying(asked: Asked) -> Answer | None:
        answer = Answer.of(asked)
        answer.length = len(answer.body) + off
        return answer if not asked.before else None

    hostile.behave = lying
    await arrives(world_of, shared)


@pytest.mark.usefixtures("shared")
async def test_a_gzip_bomb_is_not_opened(world_of: Any, hostile: Hostile) -> None:
    """A compressed answer to a request for plain bytes is refused, whatever is in it."""
    bomb = gzip.compress(bytes(64 * MIB))

    def bombing(asked: Asked) -> Answer:
        answer = Answer.of(asked, bomb)
        answer.headers["Content-Encoding"] = "gzip"
        return answer

    hostile.behave = bombing
    await fails(world_of, "source-encoded", "compresses")


@pytest.mark.usefixtures("shared")
async def test_a_whole_file_in_answer_to_a_range_is_refused(world_of: Any, hostile: Hostile) -> None:
    """200 and everything: nothing could be resumed from there, and nothing is mixed."""
    hostile.behave = lambda asked: Answer(200, {"ETag": asked.file.etag}, asked.file.content)
    await fails(world_of, "ranges-unsupported", "Range")


async def test_a_drip_is_a_stall(world_of: Any, hostile: Hostile, shared: Shared) -> None:
    """A byte now and then keeps the connection alive and not the transfer: asked anew, the rest comes."""

    def dripping(asked: Asked) -> Answer | None:
        answer = Answer.of(asked)
        answer.pace_s = 0.2
        return answer if asked.before < 2 else None

    hostile.behave = dripping
    await arrives(world_of, shared)


@pytest.mark.usefixtures("shared")
async def test_a_source_that_only_drips_is_given_up_with_its_name(make_world: Any, hostile: Hostile) -> None:
    """It is no transfer: after so many tries the model has failed, and says that the source stalls."""

    def dripping(asked: Asked) -> Answer:
        answer = Answer.of(asked, asked.honest)
        answer.silent_s = 60.0
        return answer

    hostile.behave = dripping
    world = make_world(hf_endpoint=hostile.url, stall_s=0.2, slice_s=0.2)
    await fails(world, "unreachable", "127.0.0.1", "does not answer")


@pytest.mark.parametrize("hops", [1, 3])
@pytest.mark.usefixtures("shared")
async def test_redirects_that_lead_in_circles_end(world_of: Any, hostile: Hostile, hops: int) -> None:
    """To itself, and round about."""
    hostile.behave = lambda asked: Answer(302, {"Location": f"/file/model/{(asked.before + 1) % hops}"})
    await fails(world_of, "source-redirects", "redirects more than")


async def test_signed_addresses_that_run_out_are_asked_for_again(
    world_of: Any, hostile: Hostile, shared: Shared
) -> None:
    """The hub signs an address for two answers; the next is 403, and the hub is asked for another."""
    used: dict[str, int] = {}

    def signing(asked: Asked) -> Answer | None:
        signature = asked.path.partition("?sig=")[2]
        if not signature:
            used[str(asked.before)] = 0
            return Answer(302, {"Location": f"/file/model/{asked.file.path}?sig={asked.before}"})
        used[signature] += 1
        return Answer(403) if used[signature] > 2 else None

    hostile.behave = signing
    await arrives(world_of, shared)
    assert len(used) >= 2


async def test_a_branch_that_moves_is_followed_no_further(world_of: Any, hostile: Hostile, shared: Shared) -> None:
    """The commit is pinned before the first byte: a push in the middle changes nothing of this download."""

    def push(_: Asked) -> None:
        hostile.commit = "d" * 40

    hostile.behave = push
    await arrives(world_of, shared)
    assert {asked.path.split("/")[4] for asked in hostile.asked} == {COMMIT}


@pytest.mark.usefixtures("shared")
async def test_a_hundred_thousand_files_are_refused_before_the_first_byte(world_of: Any, hostile: Hostile) -> None:
    """A plan has a limit, which its refusal names."""
    hostile.crowd = 100_000
    await fails(world_of, "plan-refused", "files are chosen", "include")
    assert hostile.asked == []


async def test_one_flipped_bit_is_refused_and_told(world_of: Any, hostile: Hostile, shared: Shared) -> None:
    """The same size, another digest: both are named. Nobody gets the file under the digest that was promised."""

    def flipped(asked: Asked) -> Answer | None:
        body = bytearray(asked.honest)
        body[-1] ^= 1
        return Answer.of(asked, bytes(body)) if asked.end == len(shared.content) else None

    hostile.behave = flipped
    await fails(world_of, "sha256-mismatch", shared.promised, "not published")
    hostile.behave = lambda _: None
    assert (await world_of.client.post("/models/model/retry")).status_code == 202
    await world_of.deliver()
    (stored,) = (
        await world_of.stored(
            (await world_of.client.post("/models", json={"source": "hf://acme/model"})).json()["uuid"]
        )
    ).values()
    assert stored == shared.content
