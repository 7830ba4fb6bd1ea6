"""Entry point of the function `download` for functions-framework: settings, dependencies, and `handle` answering the app."""

import os

from starlette.applications import Starlette
from starlette.requests import Request

from functions.download.app import build
from functions.download.settings import Settings
from functions.kit import trace
from functions.kit.settings import load

trace.export(os.environ, "download")
APP = build(load(Settings, os.environ))


async def handle(_: Request) -> Starlette:
    """The target: every request is answered by the routing table."""
    return APP
