"""The other side of the throughput figure: outbox and broker of the textbook, each step a transaction of one row.

Run by `events.py` as a process of its own: `python -m tests.bench.plain_broker DATABASE PORT SUBSCRIBER`. It does what the
laptop's broker does for one Trigger (keep, claim, deliver, forget), on the same PostgreSQL, to the same subscriber, as
many deliveries at once; nothing is shared between two events.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import asyncpg
from aiohttp import ClientSession, TCPConnector, web

from kn_model.local.eventing.worker import AT_ONCE
from kn_model.local.runtime import CONNECTIONS

CREATE: Final = """
CREATE SCHEMA IF NOT EXISTS plain;
CREATE TABLE IF NOT EXISTS plain.outbox (id TEXT PRIMARY KEY, headers JSONB NOT NULL, data BYTEA NOT NULL);
CREATE TABLE IF NOT EXISTS plain.owed (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, headers JSONB NOT NULL, data BYTEA NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS owed_due ON plain.owed (lease_until);
"""
ACCEPT: Final = "INSERT INTO plain.owed (headers, data) VALUES ($1, $2)"
CLAIM: Final = """
WITH due AS MATERIALIZED (
    SELECT id FROM plain.owed WHERE lease_until <= now() ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE plain.owed AS o SET lease_until = now() + interval '15 seconds' FROM due WHERE o.id = due.id
RETURNING o.id, o.headers, o.data
"""
FINISH: Final = "DELETE FROM plain.owed WHERE id = $1"


class PlainBroker:
    """One Trigger's broker."""

    def __init__(self, pool: "asyncpg.Pool[Any]", session: ClientSession, subscriber: str) -> None:
        self._pool = pool
        self._session = session
        self._subscriber = subscriber
        self._accepted = asyncio.Semaphore(0)

    async def accept(self, request: web.Request) -> web.Response:
        """202 once the event is kept."""
        headers = {
            name: value for name, value in request.headers.items() if name.lower().startswith(("ce-", "content-t"))
        }
        await self._pool.execute(ACCEPT, json.dumps(headers), await request.read())
        self._accepted.release()
        return web.Response(status=202)

    async def work(self) -> None:
        """One of AT_ONCE: claim one, deliver it, forget it."""
        while True:
            await self._accepted.acquire()
            while (row := await self._pool.fetchrow(CLAIM)) is None:  # noqa: ASYNC110 - another has it locked
                await asyncio.sleep(0)
            while not await self._delivered(row["data"], json.loads(row["headers"]) | {"prefer": "reply"}):
                pass  # tried again at once, as a retry without a back-off is
            await self._pool.execute(FINISH, row["id"])

    async def _delivered(self, data: bytes, headers: Mapping[str, str]) -> bool:
        async with self._session.post(self._subscriber, data=data, headers=headers) as answer:
            return answer.ok


async def _serve(database: str, port: int, subscriber: str) -> None:
    async with (
        asyncpg.create_pool(database, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool,
        ClientSession(connector=TCPConnector(limit=0)) as session,
    ):
        await pool.execute(CREATE)
        broker = PlainBroker(pool, session, subscriber)
        app = web.Application()
        app.router.add_post("/", broker.accept)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.gather(*(broker.work() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
