"""The API process: a socket, a watched event loop, uvicorn, and a stop that lets requests end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from functools import partial
from typing import Any

import uvicorn
from sqlalchemy import text

from api.application import create_app
from api.auth import Tokens, read_tokens
from api.resources import Resources, open_resources
from notifications.reporter import ErrorReporter
from settings import Settings
from telemetry import dependencies, pulse, systemd
from telemetry.instruments import bot_running
from workers.loop import LoopThread

log = logging.getLogger(__name__)

PROCESS = "api"
STOP_SECONDS = 10
LIFETIME_SECONDS = 10 * 365 * 86_400.0
BACKLOG = 128


class CannotStart(Exception):
    """The API cannot work as it is configured; the message names the setting and the cure."""


def run_api(settings: Settings, tokens: Tokens, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; then finish the requests under way, for at most ten seconds.

    Raises `StorageError` for something that is no database URL.
    """
    loop = LoopThread(PROCESS, stuck_after=settings.watchdog_seconds)
    reporter = ErrorReporter(settings)
    server = _Server()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    loop.start()
    try:
        loop.run(_serve(settings, tokens, listener, reporter, server), LIFETIME_SECONDS)
    finally:
        loop.stop()
        reporter.close()


def open_listener(settings: Settings) -> socket.socket:
    """The socket of API_HOST and API_PORT. Raises `CannotStart`."""
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.api_host, settings.api_port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"port {settings.api_port} of {settings.api_host} cannot be opened ({error.strerror or error}): set "
            "API_PORT to a free port and API_HOST to an address of this machine"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Where the API is."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check_tokens(settings: Settings) -> Tokens:
    """The tokens, and a word in the log on those that are missing. Raises `BadToken`."""
    tokens = read_tokens(settings)
    for setting in tokens.closed():
        log.warning("%s is not set: nobody is let in with it", setting)
    if not tokens.digests:
        log.warning("no token is set: the API answers 401 to everything but /healthz and /readyz")
    return tokens


class _Server:
    """What a signal stops; uvicorn is made later, on the loop."""

    def __init__(self) -> None:
        self._stopped = False
        self._uvicorn: uvicorn.Server | None = None

    def stop(self, *_: Any) -> None:
        self._stopped = True
        systemd.stopping()
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    async def serve(self, config: uvicorn.Config, listener: socket.socket) -> None:
        self._uvicorn = uvicorn.Server(config)
        if not self._stopped:
            await self._uvicorn.serve(sockets=[listener])


async def _serve(
    settings: Settings, tokens: Tokens, listener: socket.socket, reporter: ErrorReporter, server: _Server
) -> None:
    async with open_resources(settings) as resources:
        report = partial(_report, reporter)
        config = uvicorn.Config(
            create_app(resources, tokens, report),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        stop = asyncio.Event()
        watching = asyncio.create_task(_watch(resources, stop))
        bot_running.set(1, {"process": PROCESS})
        pulse.started()
        log.info("the API is at %s", url_of(listener))
        try:
            await server.serve(config, listener)
        finally:
            bot_running.set(0, {"process": PROCESS})
            stop.set()
            await watching


async def _watch(resources: Resources, stop: asyncio.Event) -> None:
    async def ask_database() -> None:
        async with resources.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    await dependencies.watch(PROCESS, {"redis": resources.redis.ping, "postgresql": ask_database}, stop)


def _report(reporter: ErrorReporter, error: Exception, where: str) -> None:
    reporter.report(error, task=where, worker=f"{PROCESS}@{os.uname().nodename}")
