"""A real PostgreSQL for tests and the demo, private to this process."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGINT, SIGQUIT
from types import TracebackType
from typing import Any, Self

import asyncpg
from sqlalchemy.engine import make_url

from sandbox.local import scratch
from sandbox.local.account import Account, postgres_account
from sandbox.local.binaries import PostgresPrograms, Source, find_postgres, reachable_postgres
from sandbox.local.errors import LocalServerError
from sandbox.local.server import ServerProcess, free_port

USER = "autotrader"
DATABASE = "postgres"

# nothing in such a cluster is worth surviving a power cut, and it should leave the memory to the others
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class LocalPostgres:
    """PostgreSQL on 127.0.0.1 with a random port and password; `url` is `postgresql+asyncpg://…`.

    `url` uses a running server instead and starts nothing; so does the environment variable named by
    `environment`, when it is set. `source` says where the programs may come from. The cluster is removed
    with the context. Enter it in the main thread: the server dies with the thread that started it.
    """

    def __init__(self, *, source: Source = "any", url: str | None = None, environment: str | None = None) -> None:
        self._given = url or (os.environ.get(environment) if environment else None)
        self._source = source
        self._programs: PostgresPrograms | None = None
        self._account: Account | None = None
        self._directory: Path | None = None
        self._server: ServerProcess | None = None
        self._port = 0
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        if self._given:
            return make_url(self._given).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
        return f"postgresql+asyncpg://{USER}:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        """The server's process, if it is ours and runs."""
        return self._server.pid if self._server else None

    def __enter__(self) -> Self:
        if self._given:
            return self
        found = find_postgres(self._source)
        self._account = postgres_account()
        self._directory = scratch.create("postgres", reachable_by=self._account)
        try:
            self._programs = reachable_postgres(found, self._account, self._directory)
            self._initialise(self._programs, self._account, self._directory)
            self._start_on_a_free_port()
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
            self._launch()

    def stop(self, *, abruptly: bool = False) -> None:
        """Stop the server if it is ours; `abruptly` as a crash would. Open connections are closed."""
        if self._server:
            # SIGKILL would leave the other processes of the server to find out by themselves
            self._server.stop(*((SIGQUIT,) if abruptly else (SIGINT, SIGQUIT)))
            self._server = None

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create a database as a copy of `template`, which nobody may be connected to; returns its URL."""
        self._execute(f'CREATE DATABASE "{_identifier(name)}" TEMPLATE "{_identifier(template)}"')
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def drop_database(self, name: str) -> None:
        """Drop a database, closing the connections to it; it may be gone already."""
        self._execute(f'DROP DATABASE IF EXISTS "{_identifier(name)}" WITH (FORCE)')

    def _initialise(self, programs: PostgresPrograms, account: Account, directory: Path) -> None:
        data, password = directory / "data", directory / "password"
        data.mkdir(mode=0o700)
        password.touch(mode=0o600)
        password.write_text(self._password)
        for path in (data, password):
            os.chown(path, account.uid, account.gid)
        options = ["--username", USER, "--auth", "scram-sha-256", "--pwfile", str(password)]
        options += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            [str(programs.initdb), "--pgdata", str(data), *options],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            check=False,
            **account.popen_options(),
        )
        password.unlink()
        if done.returncode:
            words = " | ".join(done.stdout.strip().splitlines()[-3:])
            raise LocalServerError(f"initdb ended with {done.returncode}: {words}")

    def _start_on_a_free_port(self) -> None:
        for last_try in (False, False, True):
            self._port = free_port()
            try:
                self._launch()
            except LocalServerError:
                if last_try:
                    raise
            else:
                return

    def _launch(self) -> None:
        if not (self._programs and self._account and self._directory):
            raise LocalServerError("enter the context before starting the server")
        argv = [str(self._programs.postgres), "-D", str(self._directory / "data"), "-p", str(self._port)]
        for name, value in _SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        self._server = ServerProcess(argv, self._directory, on_death=SIGQUIT, account=self._account)
        try:
            self._server.wait_ready(self._answers)
        except BaseException:
            self.stop(abruptly=True)
            raise

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    def _execute(self, statement: str) -> None:
        url = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)

        async def execute() -> None:
            connection = await asyncpg.connect(url, timeout=5)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        _run_apart(execute())


def _identifier(name: str) -> str:
    return name.replace('"', '""')


def _run_apart(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on a loop of another thread: the caller may have a loop running in this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="local-postgres") as executor:
        executor.submit(asyncio.run, work).result()
