"""From a saved login to a client, and from a password to a login. Used by every command that calls the API."""

import os
from dataclasses import replace
from pathlib import Path

from kn_model import context, laptop
from kn_model.client import Client
from kn_model.context import Context
from kn_model.failure import Failure
from kn_model.laptop import Runtime


def connect() -> Client:
    """A client for the place in use. Raises Failure when nobody is logged in."""
    saved = context.load(context.config_file())
    found = context.resolve(os.environ, saved)
    return Client(found.url, found.token, renew=lambda: _renew(found))


def log_in(url: str, username: str, password: str, *, runtime: str = "") -> Context:
    """Exchange a password for a token and keep it. Raises Failure for a wrong password or a place that is not there."""
    client = Client(url)
    try:
        answer = client.post("/auth/token", {"username": username, "password": password})
    finally:
        client.close()
    found = Context(url, answer["access_token"], username, runtime)
    context.save(context.config_file(), found)
    return found


def log_in_to_laptop(runtime: Runtime) -> Context:
    """Log in as the administrator that the runtime generated."""
    admin = laptop.admin(runtime)
    return log_in(runtime.url, admin.username, admin.password, runtime=str(runtime.folder))


def _renew(found: Context) -> str | None:
    """A fresh token for a login that came from a laptop runtime which still runs, else None."""
    if not found.runtime:
        return None
    try:
        runtime = laptop.running(Path(found.runtime))
        return log_in_to_laptop(replace(runtime, url=found.url)).token
    except Failure:
        return None
