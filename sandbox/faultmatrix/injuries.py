"""What hurts a running system over a stretch of time: a locked table, and clients that ask while it is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from sandbox.faultmatrix.ask import ask_status

STOP_SECONDS = 40.0


@contextmanager
def locked_table(database_url: str, table: str, hold: float, pause: float = 0.0) -> Iterator[None]:
    """Lock `table` against every reader, for `hold` seconds at a time with pauses between.

    `database_url` is PostgreSQL's plain one.
    """
    stop = threading.Event()
    locked = threading.Event()

    async def work() -> None:
        while not stop.is_set():
            connection = await asyncpg.connect(database_url, timeout=10)
            try:
                async with connection.transaction():
                    await connection.execute(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE')
                    locked.set()
                    await asyncio.to_thread(stop.wait, hold)
            finally:
                await connection.close()
            await asyncio.to_thread(stop.wait, pause)

    thread = threading.Thread(target=lambda: asyncio.run(work()), name="fault-lock", daemon=True)
    thread.start()
    locked.wait(10)
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_SECONDS)


@contextmanager
def api_traffic(url: str, token: str, clients: int = 2, pause: float = 0.1) -> Iterator[None]:
    """GET `url` again and again, as so many clients at a time."""
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            ask_status(url, token)
            time.sleep(pause)

    threads = [threading.Thread(target=client, name="fault-client", daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(STOP_SECONDS)
