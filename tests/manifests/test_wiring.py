"""Manifests and code agree: what the gateway and the Triggers lead to is what the functions answer, no more, no less."""

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from functions.auth.signing import generate
from functions.kit import events
from functions.kit.settings import load
from kn_model.local.door.routes import Backend, match, rules
from tests.deliveries import ENVIRONMENT

Object = dict[str, Any]
FUNCTIONS = ("auth", "download", "serve", "status")
REQUIRED = (
    "TORPOR_DATABASE_URL",
    "TORPOR_S3_ENDPOINT",
    "TORPOR_S3_BUCKET",
    "TORPOR_S3_ACCESS_KEY",
    "TORPOR_S3_SECRET_KEY",
    "TORPOR_INFERENCE_KEY",
)
CHANGES = (*events.RESOURCE_CHANGES, *events.REFERENCE_CHANGES)
# Kubelet and Broker call these directly; nobody comes to them through the gateway.
INSIDE = {("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/events"), ("POST", "/deadletters")}


def built(name: str) -> Starlette:
    """A function as its `main.py` builds it; everything it depends on opens at first use, so nothing has to run."""
    environment = {
        **dict.fromkeys(REQUIRED, "http://nowhere.invalid"),
        **ENVIRONMENT,
        "TORPOR_SIGNING_KEYS": json.dumps(generate()),
    }
    build = importlib.import_module(f"functions.{name}.app").build
    app: Starlette = build(load(get_type_hints(build)["settings"], environment))
    return app


def answered(name: str) -> Iterator[tuple[str, str]]:
    """(method, path) of everything a function answers, with a number or a word in place of each parameter."""
    for route in built(name).routes:
        if isinstance(route, Route):
            for method in sorted((route.methods or {"GET"}) - {"HEAD"}):
                yield method, re.sub(r"\{[^}]*\}", "x", re.sub(r"\{[^}]*:int\}", "17", route.path))


def handled(name: str) -> set[str]:
    """The types of event that a function's `POST /events` takes."""
    routes = [route for route in built(name).routes if isinstance(route, Route) and route.path == "/events"]
    (endpoint,) = (route.endpoint for route in routes if "POST" in (route.methods or ()))
    return set(inspect.getclosurevars(endpoint).nonlocals["handlers"])


def delivered(objects: Sequence[Object], name: str) -> set[str]:
    """The types of event that Triggers deliver to a function."""
    known = {kind.TYPE for kind in events.Event.__subclasses__()} | {events.TICK, *CHANGES}
    wanted = [
        each["spec"]["filters"][0]
        for each in objects
        if each["kind"] == "Trigger" and each["spec"]["subscriber"]["ref"]["name"] == name
    ]
    exact = {each["exact"]["type"] for each in wanted if "exact" in each}
    prefixes = tuple(each["prefix"]["type"] for each in wanted if "prefix" in each)
    return exact | {each for each in known if each.startswith(prefixes)}


@pytest.mark.parametrize("name", ["download", "serve", "status"])
def test_triggers_deliver_what_a_function_handles(objects: Sequence[Object], name: str) -> None:
    """An event without a handler would end as a dead letter; a handler without a Trigger would never run."""
    assert handled(name) == delivered(objects, name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gateway_leads_to_every_public_route(objects: Sequence[Object], name: str) -> None:
    """Each route of a function's API is reached under its own path, with its own method."""
    table = rules(each for each in objects if each["kind"] == "HTTPRoute")
    for method, path in answered(name):
        if (method, path) not in INSIDE:
            assert Backend("torpor", name, path) == match(table, "torpor.example.com", path, method, {}), (method, path)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gateway_leads_to_nothing_that_is_internal(objects: Sequence[Object], name: str) -> None:
    """Health checks and event handlers trust whoever reaches them, so nobody does from outside."""
    table = rules(each for each in objects if each["kind"] == "HTTPRoute")
    for method, path in answered(name):
        if (method, path) in INSIDE:
            assert match(table, "torpor.example.com", path, method, {}) is None, (method, path)
