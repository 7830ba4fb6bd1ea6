"""The real kubectl works against the runtime's API, unchanged."""

import asyncio
import json
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientSession

from kn_model.local.objects import kinds

TOKEN = "administrator's"
Kubectl = Callable[..., Coroutine[Any, Any, tuple[int, str]]]


async def test_get_knows_all_kinds(kubectl: Kubectl) -> None:
    """Every kind that people ask for has a name here, short ones too."""
    names = "ksvc,revision,rt,broker,trigger,pingsource,apiserversource,configmap,secret,httproute,job,sa,role"
    assert await kubectl("get", names, "-A") == (0, "No resources found\n")


async def test_apply_makes_changes_and_deletes(kubectl: Kubectl, runtime: Any, echo: Any) -> None:
    """`apply` creates, applies again, updates; wait sees it ready; get prints columns; delete ends it."""
    manifest = yaml.safe_dump(echo("hello"))
    assert await kubectl("apply", "-f", "-", stdin=manifest) == (0, "service.serving.knative.dev/hello created\n")
    assert (await kubectl("wait", "--for=condition=Ready", "ksvc/hello", "--timeout=30s"))[0] == 0
    _, listed = await kubectl("get", "ksvc,revision")
    assert listed.split()[:7] == ["NAME", "URL", "LATESTCREATED", "LATESTREADY", "READY", "REASON", "AGE"]
    assert f"{runtime.url}/_svc/torpor/hello" in listed
    await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(echo("hello", env={"V": "2"})))
    await runtime.ready("hello")
    assert (await runtime.get("/_svc/torpor/hello/"))["revision"] == "hello-00002"
    deleted = await kubectl("delete", "ksvc", "hello")
    assert deleted[0] == 0, deleted
    assert runtime.store.list(kinds.REVISION) == []


async def test_apply_of_a_built_in_kind_merges_and_removes(kubectl: Kubectl, runtime: Any) -> None:
    """ConfigMaps are patched strategically: a key that left the manifest leaves the object."""
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}
    await kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    await kubectl("apply", "-f", "-", stdin=json.dumps(manifest | {"data": {"a": "1", "c": "3"}}))
    assert runtime.store.get(kinds.CONFIG_MAP, "torpor", "c")["data"] == {"a": "1", "c": "3"}


async def test_a_field_that_is_not_honoured_is_refused_by_name(kubectl: Kubectl, echo: Any) -> None:
    """The client asks for strict validation: an unknown field is an error, not a silence."""
    manifest = echo("hello")
    manifest["spec"]["template"]["spec"]["nodeColour"] = "blue"
    code, output = await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    assert code == 1
    assert "nodeColour" in output


async def test_admission_refuses_in_knatives_words(kubectl: Kubectl, echo: Any) -> None:
    """What the webhooks of a cluster would refuse is refused here."""
    manifest = echo("hello", traffic=[{"latestRevision": True, "percent": 50}])
    code, output = await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    assert code == 1
    assert 'admission webhook "validation.webhook.serving.knative.dev" denied the request' in output


async def test_watch_prints_changes(kubectl: Any, runtime: Any) -> None:
    """`get -w` goes on printing rows."""
    obj = await runtime.store.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "torpor"}, "data": {}}
    )
    watching = await kubectl.begin("get", "cm", "-w")
    try:
        async with asyncio.timeout(60):
            rows = [await watching.stdout.readline() for _ in range(2)]
            await runtime.store.update(obj | {"data": {"a": "1"}})
            rows.append(await watching.stdout.readline())
    finally:
        watching.kill()
        await watching.wait()
    assert [row.split()[:2] for row in rows] == [[b"NAME", b"DATA"], [b"c", b"0"], [b"c", b"1"]]


async def test_describe_label_and_patch(kubectl: Kubectl, runtime: Any) -> None:
    """The other everyday verbs."""
    await runtime.store.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "torpor"}, "data": {"a": "1"}}
    )
    assert (await kubectl("describe", "cm", "c"))[0] == 0
    assert (await kubectl("label", "cm", "c", "x=y"))[0] == 0
    assert (await kubectl("patch", "cm", "c", "-p", '{"data":{"a":"2"}}'))[0] == 0
    stored = runtime.store.get(kinds.CONFIG_MAP, "torpor", "c")
    assert (stored["metadata"]["labels"], stored["data"]) == ({"x": "y"}, {"a": "2"})


async def test_strangers_are_not_let_in(kubectl: Any, tmp_path: Path) -> None:
    """No token, a wrong token and a foreign Host are refused as Kubernetes refuses them."""
    context = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.crt"))
    url = kubectl.server + "/api/v1/secrets"
    async with ClientSession() as client:
        for headers, code, reason in (
            ({}, 401, "Unauthorized"),
            ({"Authorization": "Bearer guessed"}, 401, "Unauthorized"),
            ({"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}, 403, "Forbidden"),
        ):
            async with client.get(url, headers=headers, ssl=context) as answer:
                body = await answer.json()
                assert (answer.status, body["kind"], body["reason"]) == (code, "Status", reason)
