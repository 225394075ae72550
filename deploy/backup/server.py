"""The PostgreSQL that is backed up: the container of the compose stack, or the one that DATABASE_URL names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, unquote, urlsplit

from deploy.backup.containers import find_container, inspect, variables
from deploy.backup.errors import BackupError
from deploy.backup.place import Place
from deploy.backup.running import run

DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
CONNECT_SECONDS = "10"
AWAY = ("could not connect", "connection to server", "is not running", "No such container", "Connection refused")


@dataclass(frozen=True, slots=True)
class Server:
    """Programs of PostgreSQL, each as the words that start it; `container` is "" where the server is in none."""

    database: str
    environment: Mapping[str, str]
    container: str = ""
    user: str = ""
    folder: Path | None = None

    def ask(self, sql: str, *, database: str = "") -> str:
        """What a statement answers, a row per line with `|` between columns. Raises `BackupError`."""
        options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database or self.database, "-c", sql)
        return self.run("psql", *options).strip()

    def run(self, program: str, *options: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None) -> str:
        """Run a program against the server. Raises `BackupError`, naming the cure where the server is away."""
        try:
            return run(self._argv(program, options), environment=self.environment, stdin=stdin, stdout=stdout)
        except BackupError as error:
            if any(word in str(error) for word in AWAY) and "does not exist" not in str(error):
                raise BackupError(f"{self} does not answer ({error}); {self._cure}") from None
            raise BackupError(f"{program}: {error}") from None

    def _argv(self, program: str, options: Sequence[str]) -> list[str]:
        if self.container:
            return ["docker", "exec", "-i", self.container, program, *_as(self.user, program), *options]
        return [str(self.folder / program) if self.folder else program, *options]

    @property
    def _cure(self) -> str:
        return "start the stack: make up" if self.container else "start it, or correct DATABASE_URL"

    def __str__(self) -> str:
        where = "in the compose stack" if self.container else f"at {self.environment.get('PGHOST') or 'localhost'}"
        return f'PostgreSQL {where}, database "{self.database}"'


def find_server(place: Place, project: str) -> Server:
    """The server of this place: the environment's DATABASE_URL, the stack's container, the DATABASE_URL of `.env`.

    Raises `BackupError` where there is none, or none that answers with programs that are new enough for it.
    """
    if not place.environment.get("DATABASE_URL") and (container := find_container(project, "postgres")):
        return _in_container(container)
    url = place.setting("DATABASE_URL")
    if not url:
        raise BackupError(
            f"there is no database: neither a container of the compose project {project} nor DATABASE_URL in "
            f"{place.env_file} or the environment"
        )
    return _direct(url, place)


def _in_container(container: str) -> Server:
    given = variables(inspect(container))
    user = given.get("POSTGRES_USER") or "postgres"
    return Server(given.get("POSTGRES_DB") or user, {}, container, user)


def _direct(url: str, place: Place) -> Server:
    environment = connection_of(url)
    database = environment.pop("PGDATABASE")
    folders = [Path(chosen)] if (chosen := place.setting("PG_BIN")) else _folders()
    if not folders:
        raise BackupError("pg_dump is not installed; on Debian: apt-get install postgresql-client")
    probe = Server(database, environment, folder=folders[0])
    needed = int(probe.ask("SHOW server_version_num")) // 10_000
    majors = {folder: _major(folder) for folder in folders}
    fitting = [folder for folder in folders if majors[folder] >= needed]
    if not fitting:
        raise BackupError(
            f"pg_dump {max(majors.values())} is older than the server, which is {needed}; "
            f"install postgresql-client-{needed}, or name the folder of its programs in PG_BIN"
        )
    # a newer pg_dump writes what only a newer pg_restore reads: the nearest version is the best one
    return Server(database, environment, folder=min(fitting, key=lambda folder: majors[folder]))


def connection_of(url: str) -> dict[str, str]:
    """libpq's variables for a DATABASE_URL; passwords go by the environment, never by arguments."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgres") or not parts.path.strip("/"):
        raise BackupError(
            "DATABASE_URL is no database URL; write postgresql+asyncpg://user:password@host:5432/database"
        )
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    given = {
        "PGHOST": parts.hostname or query.get("host", ""),
        "PGPORT": str(parts.port or query.get("port", "") or ""),
        "PGUSER": unquote(parts.username or query.get("user", "")),
        "PGPASSWORD": unquote(parts.password or query.get("password", "")),
        "PGSSLMODE": query.get("ssl", "") or query.get("sslmode", ""),
        "PGDATABASE": unquote(parts.path.strip("/")),
        "PGCONNECT_TIMEOUT": CONNECT_SECONDS,
    }
    return {name: value for name, value in given.items() if value}


def _folders() -> list[Path]:
    found = [path / "bin" for path in sorted(DEBIAN_PROGRAMS.glob("*")) if (path / "bin" / "pg_dump").exists()]
    if on_path := shutil.which("pg_dump"):
        found.append(Path(on_path).parent)
    return found


def _major(folder: Path) -> int:
    found = re.search(r"\(PostgreSQL\) (\d+)", run([str(folder / "pg_dump"), "--version"]))
    return int(found[1]) if found else 0


def _as(user: str, program: str) -> tuple[str, ...]:
    """pg_restore that only reads an archive connects to nothing, and is told of no user all the same."""
    return ("-U", user) if user and program in ("psql", "pg_dump", "pg_restore") else ()
