"""Functions as processes of their own: waiting until one answers."""

import asyncio
from asyncio.subprocess import Process
from typing import Final

import httpx

# Of a machine that is busy with other tests.
START_S: Final = 60


async def answers(process: Process, client: httpx.AsyncClient) -> None:
    """Wait until the process answers. Fails when it ends instead."""
    async with asyncio.timeout(START_S):
        while process.returncode is None:
            try:
                await client.get("/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return
    raise AssertionError(f"the function ended with {process.returncode} instead of listening")
