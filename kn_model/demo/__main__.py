"""`python -m kn_model.demo`, which `task demo` runs: pull a real model, ask it, let it sleep, ask it again from zero.

Exit code 0 only when everything held. It takes no question and needs no terminal.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kn_model.cluster.installation import Installation
from kn_model.cluster.kubectl import Kubectl
from kn_model.demo import hub, smoke
from kn_model.demo.runtime import RunningRuntime, runtime
from kn_model.demo.smoke import headline
from kn_model.demo.stages import Stages
from kn_model.failure import Exit, Failure
from kn_model.hub.smollm2 import REPOSITORY
from kn_model.output import say
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
    headline("What each stage took")
    for line in stages.lines():
        say(line)
    return int(code)


def run(folder: Path, stages: Stages) -> None:
    """The whole story, in `folder`. Raises Failure where something did not hold."""
    with ExitStack() as stack:
        settings = {}
        headline("Looking for a hub")
        with stages.stage("find the model") as note:
            settings["hf-endpoint"] = note.seen = _hub(stack, folder)
        headline("Starting the laptop runtime: kn model up")
        with stages.stage("start the runtime") as note:
            running = stack.enter_context(runtime(folder / "runtime", settings, say))
            note.seen = running.url
        kubectl = Kubectl({**os.environ, "KUBECONFIG": str(running.kubeconfig)})
        smoke.tell(OnThisMachine(kubectl, running), stages)
        headline("Stopping: kn model down")
        with stages.stage("stop"), announced("the engine, the functions, S3 and PostgreSQL are ending", say):
            stack.close()


@dataclass(frozen=True, slots=True)
class OnThisMachine(Installation):
    """The demo's own runtime: it sleeps when no function runs either, and no process of any."""

    running: RunningRuntime | None = None

    def awake(self, server: str) -> str:
        """Whatever runs beside the supervisor and its data servers."""
        return self.running.awake(server) if self.running else ""


def _hub(stack: ExitStack, folder: Path) -> str:
    url = hub.endpoint()
    if hub.answers(url, REPOSITORY):
        say(f"{url} answers")
        return url
    say(f"{url} does not answer: a small hub on this machine takes its place")
    return stack.enter_context(hub.small_hub(folder, say))


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kn_model.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the runtime's folder with its logs and data")
    return parser


if __name__ == "__main__":
    sys.exit(main())
