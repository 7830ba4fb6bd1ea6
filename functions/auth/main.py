"""The function's entry for the functions framework: settings, app, and `handle`, which returns the app."""

import os

from starlette.applications import Starlette
from starlette.requests import Request

from functions.auth.app import build
from functions.auth.settings import Settings
from functions.kit import trace
from functions.kit.settings import load

trace.export(os.environ, "auth")
APP = build(load(Settings, os.environ))


async def handle(_request: Request) -> Starlette:
    """Answer every route with the app: as an ASGI callable it is the response."""
    return APP
