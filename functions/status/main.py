"""Entry point of the function `status` for functions-framework: settings, dependencies, and `handle` answering the app."""

import os

from starlette.applications import Starlette
from starlette.requests import Request

from functions.kit import trace
from functions.kit.settings import load
from functions.status.app import build
from functions.status.settings import Settings

trace.export(os.environ, "status")
APP = build(load(Settings, os.environ))


async def handle(_: Request) -> Starlette:
    """The target: every request is answered by the routing table."""
    return APP
