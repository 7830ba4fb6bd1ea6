"""What can never work ends in `failed` with a reason that names the cause and the next step, and leaves nothing behind."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from functions.kit.settings import Secret
from tests.integration.users import add_user

Publish = Callable[[str, Mapping[str, bytes]], None]
Tensors = Callable[[int], bytes]
MIB = 1024 * 1024


async def ends_as(world: Any, source: str, **body: Any) -> tuple[str, str, str]:
    """Pull, deliver everything, and answer status, error code and error of the model."""
    record = await world.pull(source, **body)
    await world.deliver()
    model = await world.model(record["uuid"])
    assert await world.uploads() == []
    return model["status"], model["error_code"], model["error"] or ""


async def test_an_unknown_repository_is_named(world: Any) -> None:
    """The hub's 401 for what does not exist says that the name may be wrong or the repository private."""
    status, code, error = await ends_as(world, "hf://acme/none")
    assert (status, code) == ("failed", "repository-not-found")
    assert "acme/none" in error
    assert "TORPOR_HF_TOKEN" in error


async def test_an_unknown_revision_is_named(world: Any, publish_repository: Publish, make_tensors: Tensors) -> None:
    """The revision that does not exist is in the message."""
    publish_repository("acme/model", {"model.safetensors": make_tensors(MIB)})
    status, code, error = await ends_as(world, "hf://acme/model@v9")
    assert (status, code, error) == ("failed", "revision-not-found", "acme/model has no revision v9")


@pytest.fixture
def with_token(
    make_world: Any, hub: Any, hub_root: Path, publish_repository: Publish, make_tensors: Tensors
) -> Callable[[str], Any]:
    """The function with a token of the test's choice, and a gated repository `acme/gated` that wants `hf_right`."""
    publish_repository("acme/gated", {"model.safetensors": make_tensors(MIB)})
    (hub_root / "acme/gated/.gated").write_text("hf_right\n")
    return lambda token: make_world(hf_endpoint=hub.url, hf_token=Secret(token))


@pytest.mark.parametrize(("token", "hint"), [("", "set TORPOR_HF_TOKEN"), ("hf_wrong", "ask for it at")])
async def test_a_gated_repository_says_where_to_get_access(with_token: Any, token: str, hint: str) -> None:
    """401 without a token and 403 with one that has no access: both name the page, and which setting it is about."""
    status, code, error = await ends_as(with_token(token), "hf://acme/gated")
    assert (status, code) == ("failed", "gated")
    assert hint in error
    assert "https://huggingface.co/acme/gated" in error


async def test_the_right_token_opens_a_gated_repository(with_token: Any) -> None:
    """The token reaches the hub."""
    assert (await ends_as(with_token("hf_right"), "hf://acme/gated"))[0] == "available"


async def test_pickled_weights_are_refused_unless_named(world: Any, publish_repository: Publish) -> None:
    """A repository of pickles fails with the reason; naming the file is the way to say that one trusts it."""
    publish_repository("acme/pickled", {"pytorch_model.bin": b"\x80\x04.", "config.json": b"{}", "run.py": b""})
    status, code, error = await ends_as(world, "hf://acme/pickled")
    assert (status, code) == ("failed", "plan-refused")
    assert "pytorch_model.bin" in error
    record = await world.pull("hf://acme/pickled", include=["*.bin", "*"])
    await world.deliver()
    assert sorted(await world.stored(record["uuid"])) == ["config.json", "pytorch_model.bin"]


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/etc/evil.safetensors", "a\\b.safetensors", "a\u202eb.safetensors"]
)
async def test_a_name_that_climbs_or_hides_is_refused(make_world: Any, source: Any, name: str) -> None:
    """Nothing of a repository with such a name is fetched."""
    source.names = (name,)
    status, code, _ = await ends_as(make_world(hf_endpoint=source.url), "hf://acme/model")
    assert (status, code) == ("failed", "plan-refused")
    assert source.asked == []


async def test_a_wrong_sha256_is_never_published(make_world: Any, source: Any) -> None:
    """Both digests are in the message; no object, no upload and no manifest is left."""
    source.sha256 = "0" * 64
    world = make_world(hf_endpoint=source.url)
    record = await world.pull("hf://acme/model")
    await world.deliver()
    model, files = await world.model(record["uuid"]), await world.files(record["uuid"])
    assert (model["status"], model["error_code"]) == ("failed", "sha256-mismatch")
    assert "0" * 64 in model["error"]
    assert files["model.safetensors"]["status"] == "failed"
    assert await world.stored(record["uuid"]) == {}
    assert await world.uploads() == []
    assert await world.objects.get(f"manifests/{record['uuid']}.json") is None
    assert "model.available.v1" not in world.broker.types()


async def test_a_source_without_ranges_is_refused(make_world: Any, source: Any) -> None:
    """200 to a Range: the whole file must not pass for a part of it."""
    source.behave = lambda origin, _: web.Response(body=origin.content, headers={"ETag": origin.etag})
    status, code, _ = await ends_as(make_world(hf_endpoint=source.url), "hf://acme/model")
    assert (status, code) == ("failed", "ranges-unsupported")


async def test_a_file_that_lies_about_its_tensors_is_not_published(world: Any, publish_repository: Publish) -> None:
    """A header that claims more than the file holds fails the model, though every digest is right."""
    publish_repository("acme/liar", {"model.safetensors": (1 << 40).to_bytes(8, "little") + b"{}" * 50})
    status, code, error = await ends_as(world, "hf://acme/liar")
    assert (status, code) == ("failed", "model-invalid")
    assert "header" in error


async def test_a_missing_shard_is_not_published(world: Any, publish_repository: Publish, make_tensors: Tensors) -> None:
    """An index that names a file which is not there fails the model."""
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    files = {"model-1.safetensors": make_tensors(MIB), "model.safetensors.index.json": index}
    publish_repository("acme/torn", files)
    status, code, error = await ends_as(world, "hf://acme/torn")
    assert (status, code) == ("failed", "model-invalid")
    assert "model-2.safetensors" in error


async def test_an_inside_address_is_refused_before_a_connection(make_world: Any, source: Any) -> None:
    """A user's URL does not reach loopback unless the operator allows the host; the hub being there changes nothing."""
    world = make_world(hf_endpoint=source.url, allowed_source_hosts=())
    port = source.url.rpartition(":")[2]
    status, code, error = await ends_as(world, f"https://127.0.0.1:{port}/file/model.safetensors")
    assert (status, code) == ("failed", "source-forbidden")
    assert "TORPOR_ALLOWED_SOURCE_HOSTS" in error
    assert source.asked == []


async def test_bad_requests_are_422_or_400(world: Any) -> None:
    """A source that is none, and a field that does not exist, are refused at once and leave no record."""
    no_source = await world.client.post("/models", json={"source": "s4://x"})
    unknown = await world.client.post("/models", json={"source": "hf://a/b", "color": "red"})
    plain = await world.client.post("/models", json={"source": "http://example.com/a.gguf"})
    assert [no_source.status_code, unknown.status_code, plain.status_code] == [422, 400, 422]
    assert "color" in unknown.json()["detail"]
    assert await world.db.fetchval("SELECT count(*) FROM model_records") == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [("DELETE FROM users", "no longer a user"), ("UPDATE users SET role = 'user'", "may not operate")],
)
async def test_whoever_may_no_longer_ask_gets_nothing(
    world: Any, publish_repository: Publish, make_tensors: Tensors, change: str, said: str
) -> None:
    """Between the request and its event the asker was deleted or demoted: nothing is fetched, the record says why.

    Somebody who may ask can try it again, in their own name.
    """
    publish_repository("acme/model", {"config.json": b"{}", "model.safetensors": make_tensors(MIB)})
    record = await world.pull("hf://acme/model")
    await world.db.execute(change)
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["error_code"], await world.files(record["uuid"])) == ("failed", "actor-refused", {})
    assert (said in model["error"], "olga" in model["error"]) == (True, True)
    await world.db.execute("DELETE FROM users")
    await add_user(world.db, "olga", "operator")
    await world.db.execute("UPDATE model_records SET actor = 'somebody who left'")
    assert (await world.client.post(f"/models/{record['uuid']}/retry")).status_code == 202
    await world.deliver()
    model = await world.model(record["uuid"])
    assert (model["status"], model["actor"]) == ("available", "olga")


async def test_a_lost_event_is_no_way_around_the_check(world: Any) -> None:
    """The tick asks again in the name of whoever asked."""
    record = await world.pull("hf://acme/model")
    world.broker.queue.clear()
    await world.db.execute("DELETE FROM users")
    await world.db.execute("UPDATE model_records SET updated_at = now() - interval '1 hour'")
    assert await world.tick() == 204
    await world.deliver()
    assert (await world.model(record["uuid"]))["error_code"] == "actor-refused"


async def test_who_asked_for_a_model_asks_for_its_server(
    world: Any, publish_repository: Publish, make_tensors: Tensors
) -> None:
    """`model.available` has no event as its cause, and says all the same whose model it is."""
    publish_repository("acme/model", {"config.json": b"{}", "model.safetensors": make_tensors(MIB)})
    await world.pull("hf://acme/model")
    sent: list[dict[str, str]] = []
    publish = type(world.broker).__call__

    async def remember(headers: Mapping[str, str], data: bytes) -> None:
        sent.append(dict(headers))
        await publish(world.broker, headers, data)

    world.workshop.planner._bus._publish_one = remember
    await world.deliver()
    assert [headers["ce-actor"] for headers in sent if headers["ce-type"] == "dev.torpor.model.available.v1"] == [
        "olga"
    ]
