"""`python -m kn_model.demo`, which `task demo` runs: pull a real model, ask it, let it sleep, ask it again from zero.

Exit code 0 only when everything held. It takes no question and needs no terminal.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kn_model.client import Client
from kn_model.commands.ps import row
from kn_model.demo import hub, story
from kn_model.demo.process import DEPENDENCIES, below
from kn_model.demo.runtime import RunningRuntime, runtime
from kn_model.demo.stages import Stages
from kn_model.failure import Exit, Failure
from kn_model.hub.smollm2 import REPOSITORY
from kn_model.output import print_table, say
from kn_model.waiting import announced


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; prints the table of stages however it ends. Answers the exit code."""
    options = _parser().parse_args(arguments)
    stages, code = Stages(), Exit.OK
    try:
        with _folder(keep=options.keep) as folder:
            run(folder, stages)
    except Failure as failure:
        failure.show()
        code = failure.code
    except KeyboardInterrupt:
        say("interrupted")
        code = Exit.INTERRUPTED
    _headline("What each stage took")
    for line in stages.lines():
        say(line)
    return int(code)


def run(folder: Path, stages: Stages) -> None:
    """The whole story, in `folder`. Raises Failure where something did not hold."""
    with ExitStack() as stack:
        settings = {}
        _headline("Looking for a hub")
        with stages.stage("find the model") as note:
            settings["hf-endpoint"] = note.seen = _hub(stack, folder)
        _headline("Starting the laptop runtime: kn model up")
        with stages.stage("start the runtime") as note:
            running = stack.enter_context(runtime(folder / "runtime", settings, say))
            note.seen = running.url
        tell(running, stages)
        _headline("Stopping: kn model down")
        with stages.stage("stop"), announced("the engine, the functions, S3 and PostgreSQL are ending", say):
            stack.close()


def tell(running: RunningRuntime, stages: Stages) -> None:
    """From log-in to the answer from zero."""
    _headline("Logging in as the generated administrator: kn model login")
    with stages.stage("log in"), announced("the function auth is starting", say):
        client = running.log_in()
    _headline(f"Pulling the model: kn model pull hf://{REPOSITORY}")
    with stages.stage("pull and verify") as note:
        model = story.pull(client)
        note.seen = story.fetched(model)
    _headline("The event model.available makes a server")
    with stages.stage("roll out") as note:
        server = story.rollout(client, model)
        note.seen = f"Knative Service {server['name']}, revision {server['revision']}"
    _ask(client, server["name"], stages, "answer, awake")
    _headline("Status: kn model ps, and kubectl on the runtime's own API")
    _status(client, running)
    _headline("Nobody calls: everything scales to zero")
    with stages.stage("fall asleep") as note:
        story.fall_asleep(running)
        note.seen = _processes(running)
        say(note.seen)
    _ask(client, server["name"], stages, "answer, from zero")
    client.close()


def _hub(stack: ExitStack, folder: Path) -> str:
    url = hub.endpoint()
    if hub.answers(url, REPOSITORY):
        say(f"{url} answers")
        return url
    say(f"{url} does not answer: a small hub on this machine takes its place")
    return stack.enter_context(hub.small_hub(folder, say))


def _ask(client: Client, server: str, stages: Stages, name: str) -> None:
    _headline(f'Asking: kn model chat {server} "{story.QUESTION}"')
    with stages.stage(name) as note:
        answer = story.ask(client, server)
        note.seen = f"{answer.text!r}, first word after {answer.first_s:.2f} s"
    say(f"{server}: {answer.text}")


def _status(client: Client, running: RunningRuntime) -> None:
    header = ("NAME", "MODEL", "STATUS", "REPLICAS", "MEMORY", "AGE", "URL")
    print_table(header, [row(server) for server in client.items("/status", "servers")])
    sys.stdout.flush()
    kubectl = Path(sys.prefix) / "bin" / "kubectl"
    command = [str(kubectl), "--kubeconfig", str(running.kubeconfig), "get", "ksvc,trigger"]
    if subprocess.run(command, check=False, timeout=60).returncode != 0:
        raise Failure("kubectl could not read the runtime's API", why=" ".join(command))


def _processes(running: RunningRuntime) -> str:
    """What still runs: the supervisor and its two data servers."""
    counts = {name: sum(process.name().startswith(name) for process in below(running.pid)) for name in DEPENDENCIES}
    listed = ", ".join(f"{name} ({count})" for name, count in counts.items() if count)
    return f"no function and no model runs; only the supervisor, {listed}"


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """A folder of this run's own, also for the saved login; removed unless something failed or it is to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="torpor-demo-"))
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    try:
        yield folder
    except BaseException:
        say(f"The runtime's logs are kept in {folder}")
        raise
    if keep:
        say(f"Everything is kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _headline(text: str) -> None:
    say(f"\n== {text}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kn_model.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the runtime's folder with its logs and data")
    return parser


if __name__ == "__main__":
    sys.exit(main())
