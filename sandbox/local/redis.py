"""A real Redis (or Valkey) for tests and the demo, private to this process."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import TracebackType
from typing import Self

import redis

from sandbox.local import scratch
from sandbox.local.account import Account
from sandbox.local.binaries import Source, find_redis
from sandbox.local.errors import LocalServerError
from sandbox.local.server import ServerProcess, free_port


class LocalRedis:
    """Redis on 127.0.0.1 with a random port and password, `noeviction`; `url` while it runs.

    `url` uses a running server instead and starts nothing; so does the environment variable named by
    `environment`, when it is set. `source` says where the program may come from. `persist` turns the
    append-only file on, as in production, so that `stop` and `start` keep the data. The data is removed
    with the context. Enter it in the main thread: the server dies with the thread that started it.
    """

    def __init__(
        self,
        *,
        source: Source = "any",
        url: str | None = None,
        environment: str | None = None,
        persist: bool = False,
    ) -> None:
        self._given = url or (os.environ.get(environment) if environment else None)
        self._source = source
        self._persist = persist
        self._directory: Path | None = None
        self._server: ServerProcess | None = None
        self._port = 0
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        return self._given or f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process, if it is ours and runs."""
        return self._server.pid if self._server else None

    def __enter__(self) -> Self:
        if self._given:
            return self
        program = find_redis(self._source)
        self._directory = scratch.create("redis")
        try:
            self._start_on_a_free_port(program)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._directory:
            scratch.remove(self._directory)
            self._directory = None

    def start(self) -> None:
        """Start again after `stop`, on the same port. Raises `LocalServerError`."""
        if self._server is None and self._directory is not None:
            self._launch(find_redis(self._source), self._directory)

    def stop(self, *, abruptly: bool = False) -> None:
        """Stop the server if it is ours; `abruptly` as a crash would."""
        if self._server:
            self._server.stop(SIGKILL if abruptly else SIGTERM)
            self._server = None

    def _start_on_a_free_port(self, program: Path) -> None:
        for last_try in (False, False, True):
            self._port = free_port()
            try:
                self._launch(program, self._directory or Path())
            except LocalServerError:
                if last_try:
                    raise
            else:
                return

    def _launch(self, program: Path, directory: Path) -> None:
        # a file, because a password among the arguments could be read by every user of the machine
        configuration = directory / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"bind 127.0.0.1\nport {self._port}\nrequirepass {self._password}\ndir {directory}\n"
            f"daemonize no\nmaxmemory-policy noeviction\nsave ''\n"
            f"appendonly {'yes' if self._persist else 'no'}\nappendfsync everysec\n"
        )
        ourselves = Account(os.geteuid(), os.getegid())
        self._server = ServerProcess([str(program), str(configuration)], directory, on_death=SIGKILL, account=ourselves)
        try:
            self._server.wait_ready(self._answers)
        except BaseException:
            self.stop(abruptly=True)
            raise

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
