"""Entry point of the function `serve` for functions-framework: settings, dependencies, and `handle` answering the app."""

import os

from starlette.applications import Starlette
from starlette.requests import Request

from functions.kit import trace
from functions.kit.settings import load
from functions.serve.app import build
from functions.serve.settings import Settings

trace.export(os.environ, "serve")
APP = build(load(Settings, os.environ))


async def handle(_: Request) -> Starlette:
    """The target: every request is answered by the routing table."""
    return APP
