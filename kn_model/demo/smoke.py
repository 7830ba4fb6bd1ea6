"""`python -m kn_model.demo.smoke`, which `task smoke` runs: the main job against the Torpor of the current kubeconfig.

It pulls a small model, lets the event serve it, asks it, looks at what was counted, lets it sleep and asks it again from
zero, puts a change on trial and rolls it back, and takes away what it brought. It knows a ConfigMap, a Secret and an HTTP API, and not what kind of cluster that is:
`python -m kn_model.demo` takes the same steps on a runtime of its own. Exit code 0 only when everything held.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from kn_model.client import Client
from kn_model.cluster.installation import Installation
from kn_model.commands.ps import row
from kn_model.demo import story
from kn_model.demo.stages import Stages
from kn_model.failure import Exit, Failure
from kn_model.follow import follow_removal
from kn_model.hub.smollm2 import REPOSITORY
from kn_model.output import print_table, say
from kn_model.records import ModelRecord, ServerRecord
from kn_model.waiting import announced

SOURCE = f"hf://{REPOSITORY}"


def main(arguments: list[str] | None = None) -> int:
    """Run it; prints the table of stages however it ends. Answers the exit code."""
    options = _parser().parse_args(arguments)
    stages, code = Stages(), Exit.OK
    try:
        # A folder of its own for the saved login: whoever runs this stays logged in where they are.
        with tempfile.TemporaryDirectory(prefix="torpor-smoke-") as folder:
            os.environ["XDG_CONFIG_HOME"] = str(Path(folder, "config"))
            tell(Installation(), stages, options.source, keep=options.keep)
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


def tell(place: Installation, stages: Stages, source: str = SOURCE, *, keep: bool = False) -> None:
    """From log-in to the answer from zero. Raises Failure where something did not hold."""
    headline("Logging in as the first administrator: kn model login")
    with stages.stage("log in") as note, announced("the function auth is starting", say):
        client = place.log_in()
        note.seen = client.url
    there = {model["uuid"] for model in client.items("/models", "models")}
    model, server = _served(client, stages, source)
    _asked(client, server, stages, "answer, awake")
    headline("Status: kn model ps, and kubectl on the same cluster")
    _status(place, client)
    headline("Nobody calls: the model scales to zero")
    with stages.stage("fall asleep") as note:
        note.seen = f"no replica after {story.fall_asleep(place, server['name']):.0f} s"
        say(note.seen)
    _asked(client, server, stages, "answer, from zero")
    _tried(place, client, server, stages)
    if not keep and model["uuid"] not in there:
        headline("Taking away what this brought: kn model rm --all")
        with stages.stage("remove"):
            _remove(client, model, server)
    client.close()


def _served(client: Client, stages: Stages, source: str) -> tuple[ModelRecord, ServerRecord]:
    headline(f"Pulling the model: kn model pull {source}")
    with stages.stage("pull and verify") as note:
        model = story.pull(client, source)
        note.seen = story.fetched(model)
    headline("The event model.available makes a server")
    with stages.stage("roll out") as note:
        server = story.rollout(client, model)
        note.seen = f"Knative Service {server['name']}, revision {server['revision']}"
    return model, server


def _asked(client: Client, server: ServerRecord, stages: Stages, name: str) -> None:
    """One question, and that its tokens are counted."""
    headline(f'Asking: kn model chat {server["name"]} "{story.QUESTION}"')
    before = story.tokens(client)
    with stages.stage(name) as note:
        answer = story.ask(client, server["name"])
        note.seen = f"{answer.text!r}, first word after {answer.first_s:.2f} s"
    say(f"{server['name']}: {answer.text}")
    with stages.stage("count its tokens") as note, announced("usage is on its way", say):
        note.seen = f"{story.counted(client, before)} tokens"


def _tried(place: Installation, client: Client, server: ServerRecord, stages: Stages) -> None:
    """A change gets half of the traffic, and a person decides against it."""
    headline(f"A change on trial: kn model serve {server['name']} --change")
    with stages.stage("put on trial") as note, announced("a second engine is starting", say):
        rollout = story.put_on_trial(client, server["name"])
        note.seen = f"{rollout['candidate_revision']} has {rollout['percent']} % of the traffic"
        say(note.seen)
    headline(f"Deciding against it: kn model rollback {server['name']}")
    with stages.stage("roll back") as note:
        seconds = story.roll_back(client, server["name"], lambda: place.traffic(server["name"]), rollout)
        note.seen = f"no call to it after {seconds:.1f} s; the traffic: {place.traffic(server['name'])}"
        say(note.seen)
    _asked(client, server, stages, "answer, rolled back")


def _status(place: Installation, client: Client) -> None:
    header = ("NAME", "MODEL", "STATUS", "REPLICAS", "MEMORY", "AGE", "URL")
    print_table(header, [row(server) for server in client.items("/status", "servers")])
    sys.stdout.flush()
    say(place.kubectl.run("get", "ksvc,trigger"))


def _remove(client: Client, model: ModelRecord, server: ServerRecord) -> None:
    client.delete(f"/serve/{server['name']}")
    follow_removal(client, f"/status/{server['uuid']}")
    client.delete(f"/models/{model['uuid']}")
    follow_removal(client, f"/models/{model['uuid']}")


def headline(text: str) -> None:
    """The next part of the story."""
    say(f"\n== {text}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kn_model.demo.smoke", description=__doc__)
    parser.add_argument("--source", default=SOURCE, help="the model to pull  [default: %(default)s]")
    parser.add_argument("--keep", action="store_true", help="leave the model and its server there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
