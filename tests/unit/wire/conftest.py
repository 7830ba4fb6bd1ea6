"""These tests run on both loops: functions are served on uvloop where it is installed, and its transports are its own."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """By name, which is part of the test's."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
