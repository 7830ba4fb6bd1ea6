"""What a deployment waits for, one after the other, and where to look when it does not come. Called by deploy."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kn_model.cluster.kubectl import CALL_S, Kubectl
from kn_model.failure import Exit, Failure
from kn_model.local.objects.kinds import Object
from kn_model.output import say
from kn_model.waiting import announced

SETUP: Final = "torpor-setup"
# The Job gives up by itself after 600 s (knative/base/setup/job.yaml): this is that and a minute to be told so.
_SETUP_S: Final = 660.0
# Images to pull, a volume to bind.
_READY_S: Final = 300.0
# A person does not notice the difference, and an API server does not notice the question.
_EVERY_S: Final = 2.0

Sleep = Callable[[float], None]


def wait(kubectl: Kubectl, objects: Sequence[Object], sleep: Sleep = time.sleep) -> None:
    """Servers that come along, then the setup Job, then the functions. Raises Failure at the first that does not come."""
    for each in objects:
        if each["kind"] == "StatefulSet":
            name = each["metadata"]["name"]
            with announced(f"{name} is starting", say):
                _stateful(kubectl, name)
    with announced("the setup Job is at work", say):
        _setup(kubectl, sleep)
    services = [each["metadata"]["name"] for each in objects if each["apiVersion"].startswith("serving.knative.dev/")]
    with announced("the functions are starting", say):
        _functions(kubectl, services)


def _stateful(kubectl: Kubectl, name: str) -> None:
    advice = (
        f"kubectl -n torpor describe pod {name}-0 says what it waits for, kubectl -n torpor logs {name}-0 why it ends."
    )
    _until(kubectl, "rollout", "status", f"statefulset/{name}", advice=advice)


def _setup(kubectl: Kubectl, sleep: Sleep) -> None:
    """`kubectl wait` waits for one condition alone and would not see that the Job has failed."""
    for _ in range(int(_SETUP_S / _EVERY_S)):
        job: Any = kubectl.get("job", SETUP)
        if _condition(job, "Complete")["status"] == "True":
            return
        failed = _condition(job, "Failed")
        if job is None or failed["status"] == "True":
            raise _setup_failed("failed", _words(failed) if job else "Somebody deleted it.", Exit.FAILED)
        sleep(_EVERY_S)
    raise _setup_failed(f"is not done after {_SETUP_S:.0f} s", "Its pod may not have started.", Exit.TIMED_OUT)


def _setup_failed(how: str, why: str, code: Exit) -> Failure:
    return Failure(
        f"the Job {SETUP} {how}",
        why=why,
        do=f"kubectl -n torpor logs job/{SETUP} says why. Correct it and deploy again.",
        code=code,
    )


def _functions(kubectl: Kubectl, names: Sequence[str]) -> None:
    try:
        _until(kubectl, "wait", "--for=condition=Ready", "ksvc", *names)
    except Failure as failure:
        found: Any = kubectl.get("ksvc") or {"items": []}
        waited = {each["metadata"]["name"]: _condition(each, "Ready") for each in found["items"]}
        late = {name: waited[name] for name in names if name in waited and waited[name]["status"] != "True"}
        raise Failure(
            f"not every function is ready: {', '.join(late) or ', '.join(names)}",
            why="\n  ".join(f"{name}: {_words(each)}" for name, each in late.items()) or failure.why,
            do="kubectl -n torpor get pods,revisions shows what they wait for; kubectl -n torpor describe says why.",
            code=failure.code,
        ) from failure


def _until(kubectl: Kubectl, *arguments: str, advice: str = "") -> None:
    kubectl.run(*arguments, f"--timeout={_READY_S:.0f}s", timeout_s=_READY_S + CALL_S, advice=advice)


def _condition(obj: Any, type_: str) -> Mapping[str, str]:
    """The condition of this type, Unknown where the object does not have it."""
    found = ((obj or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in found if each["type"] == type_), {"status": "Unknown"})


def _words(condition: Mapping[str, str]) -> str:
    told = [condition[key] for key in ("reason", "message") if condition.get(key)]
    return ": ".join(told) or "The cluster gave no reason."
