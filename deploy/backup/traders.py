"""Whoever trades on the database: stopped before a restore, and started again after it.

In the compose stack these are containers. Elsewhere this program knows nobody who could be stopped, so it looks who is
connected, and refuses.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.backup.containers import find_container, inspect, variables
from deploy.backup.errors import BackupError
from deploy.backup.place import Place
from deploy.backup.running import run
from deploy.backup.server import Server

log = logging.getLogger(__name__)

# in the order in which they are started again
SERVICES = (*("worker-upbit", "worker-kis", "worker-yfinance", "trader", "notifier", "api", "flower", "beat"),)


@contextmanager
def stopped(server: Server, project: str) -> Iterator[None]:
    """Nobody trades on the database meanwhile. Raises `BackupError` where somebody does who cannot be stopped."""
    if not server.container:
        _refuse_company(server)
        yield
        return
    found = [(name, id) for name in SERVICES if (id := find_container(project, name)) and _runs(id)]
    try:
        if found:
            log.info("stopping %s", ", ".join(name for name, _ in found))
            _stop([id for _, id in reversed(found)])
        yield
    finally:
        # also where only some of them have stopped, or the stopping was cut off
        if found:
            log.info("starting %s again", ", ".join(name for name, _ in found))
            run(["docker", "start", *(id for _, id in found)])


def migrate(place: Place, server: Server, project: str, database: str) -> None:
    """Bring a database to the schema of the present release. Raises `BackupError`, also for one that is newer."""
    if server.container:
        _migrate_in_the_stack(project, database)
    else:
        program = _program(place)
        parts = place.setting("DATABASE_URL").partition("?")
        url = f"{parts[0].rpartition('/')[0]}/{database}{parts[1]}{parts[2]}"
        _migrated([program, "migrate"], {"DATABASE_URL": url})


def _stop(containers: list[str]) -> None:
    # each has the time that its own container was given: what is under way is ended well, not killed
    words = ["docker", "stop", *containers]
    try:
        run(words)
    except BaseException:
        # Docker goes on with a stop that was cut off here, and would end what is started again before that
        with suppress(BackupError):
            run(words)
        raise


def _runs(container: str) -> bool:
    return bool(inspect(container)["State"]["Running"])


def _refuse_company(server: Server) -> None:
    rows = server.ask(
        "SELECT DISTINCT application_name FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE 'autotrader%'"
    )
    if rows:
        raise BackupError(
            f"{', '.join(rows.splitlines())} still use the database; stop all processes of autotrader first, for "
            "example with: systemctl stop 'autotrader*'"
        )


def _migrate_in_the_stack(project: str, database: str) -> None:
    container = next((id for name in ("migrate", *SERVICES) if (id := find_container(project, name))), "")
    if not container:
        log.warning("no process of the stack is there to migrate the database: the next `make up` does")
        return
    known = inspect(container)
    given = variables(known)
    url, mark, query = given["DATABASE_URL"].partition("?")
    given["DATABASE_URL"] = f"{url.rpartition('/')[0]}/{database}{mark}{query}"
    network = next(iter(known["NetworkSettings"]["Networks"]))
    # by name only: values on a command line are seen by everybody on the machine
    names = [word for name in given if name not in ("PATH", "HOME", "HOSTNAME") for word in ("--env", name)]
    argv = ["docker", "run", "--rm", "--network", network, "--tmpfs", "/tmp", *names, known["Image"], "migrate"]
    passed = {name: value for name, value in given.items() if name not in ("PATH", "HOME", "HOSTNAME")}
    _migrated(argv, passed)


def _migrated(argv: list[str], environment: dict[str, str]) -> None:
    try:
        run(argv, environment=environment)
    except BackupError as error:
        raise BackupError(f"the restored database could not be migrated: {error}") from None


def _program(place: Place) -> str:
    """Where `autotrader` is, where there is no Docker."""
    folder = place.release
    known = (
        folder / ".venv/bin/autotrader",
        folder / "venv/bin/autotrader",
        Path("/opt/autotrader/venv/bin/autotrader"),
    )
    found = next((str(path) for path in known if os.access(path, os.X_OK)), shutil.which("autotrader"))
    if not found:
        raise BackupError(f"the program autotrader is neither in {folder} nor on PATH; --root names its folder")
    return found
