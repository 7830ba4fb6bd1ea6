"""Manifests and settings agree: what a function reads is given to it, and what is given is read."""

import dataclasses
import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

Object = dict[str, Any]
ROOT = Path(__file__).parents[2]
SETTINGS = {
    "auth": "functions.auth.settings:Settings",
    "download": "functions.download.settings:Settings",
    "serve": "functions.serve.settings:Settings",
    "status": "functions.status.settings:Settings",
    "setup": "functions.auth.settings:SetupSettings",
}


def fields(name: str) -> dict[str, bool]:
    """Variable -> is it required, of a function's settings."""
    module, _, attribute = SETTINGS[name].partition(":")
    settings = getattr(importlib.import_module(module), attribute)
    return {each.metadata["env"]: each.default is dataclasses.MISSING for each in dataclasses.fields(settings)}


def given(objects: Sequence[Object], name: str) -> set[str]:
    """The variables that the container of this name gets."""
    templates = [each["spec"]["template"]["spec"] for each in objects if "template" in each.get("spec", {})]
    (container,) = [found for pod in templates for found in pod["containers"] if found["name"] == name]
    return {variable["name"] for variable in container["env"] if variable["name"].startswith("TORPOR_")}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_function_gets_what_it_requires(name: str, render: Any) -> None:
    """Every variable without a default is in the manifest."""
    required = {variable for variable, needed in fields(name).items() if needed}
    assert required <= given(render("local"), name)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_function_reads_what_it_gets(name: str, render: Any) -> None:
    """A variable that no setting reads is a misspelt one."""
    assert given(render("local"), name) <= fields(name).keys()


def references(objects: Sequence[Object]) -> set[tuple[str, str]]:
    """(Secret or ConfigMap, key) of everything that containers refer to."""
    found = re.findall(r"'(?:secret|configMap)KeyRef': (\{[^}]*\})", repr(list(objects)))
    pairs = [(re.search(r"'name': '([^']+)'", each), re.search(r"'key': '([^']+)'", each)) for each in found]
    return {(name[1], key[1]) for name, key in pairs if name and key}


def test_every_key_that_is_referred_to_is_documented(objects: Sequence[Object]) -> None:
    """docs/cluster.md tells the operator each Secret and ConfigMap key that a pod would wait for."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert [] == [
        pair for pair in sorted(references(objects)) if f"`{pair[0]}`" not in page or f"`{pair[1]}`" not in page
    ]


def test_every_key_of_the_config_map_is_used(objects: Sequence[Object]) -> None:
    """A key that nobody reads misleads whoever sets it."""
    (config,) = [each for each in objects if each["kind"] == "ConfigMap"]
    assert {("torpor", key) for key in config["data"]} == {pair for pair in references(objects) if pair[0] == "torpor"}


def test_the_command_starts_the_function_of_that_name(objects: Sequence[Object]) -> None:
    """Each service runs its own `main.py` under functions-framework, from the working directory of the image."""
    for each in objects:
        if each["apiVersion"] == "serving.knative.dev/v1":
            name = each["metadata"]["name"]
            expected = f"python -m functions_framework --asgi --source functions/{name}/main.py --target handle"
            assert expected == " ".join(each["spec"]["template"]["spec"]["containers"][0]["command"])
            assert (ROOT / "functions" / name / "main.py").is_file()
