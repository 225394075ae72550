"""What belongs to a backup and is not in the database.

Without secrets: `.env` leaves the device only inside the encrypted copy. And without Redis: what is there is of now.
Queues repeat themselves with the next tick, leases and limits end, and what must not be lost is in PostgreSQL.
"""

from __future__ import annotations

import json
import logging
import os
import tarfile
from dataclasses import asdict
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from deploy.backup.containers import copy_out, find_container, inspect, variables
from deploy.backup.dumps import PARTIAL, belong, companion, sync
from deploy.backup.journal import ABOUT, journal_of
from deploy.backup.place import Place
from deploy.backup.server import Server
from deploy.backup.traders import SERVICES

log = logging.getLogger(__name__)

STATE = "/var/lib/autotrader"


def gather(place: Place, server: Server, dump: Path, project: str) -> None:
    """Put beside a dump: which release it was, the file of strategies, and alerts that waited on the disk."""
    part = companion(dump).with_name(companion(dump).name + PARTIAL)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        if (release := place.release / "release.json").is_file():
            tar.add(release, release.name)
        _add(tar, *_strategy_file(place, server, project))
        if server.container:
            _add(tar, "spool.tar", _spool_of_the_stack(project))
        elif (folder := _spool(place)).is_dir():
            tar.add(folder, "spool")
        held = journal_of(server)
        about = {"dump": dump.name, "root": str(place.root), "made": datetime.now(UTC).isoformat()}
        _add(tar, ABOUT, json.dumps({**about, **(asdict(held) if held else {})}).encode())
    belong(part)
    sync(part)
    part.rename(companion(dump))


def _strategy_file(place: Place, server: Server, project: str) -> tuple[str, bytes]:
    """The name and the content of the file that STRATEGY_FILE names, where the processes see it."""
    if server.container:
        path, content = _strategy_file_of_the_stack(place, project)
    else:
        path = place.setting("STRATEGY_FILE")
        content = Path(path).read_bytes() if path and Path(path).is_file() else b""
    if path and not content:
        log.warning(
            "STRATEGY_FILE IS NOT IN THIS BACKUP: %s is %s; correct it in %s, or keep a copy of it yourself",
            path,
            "in no container of the stack" if server.container else "no file here, or an empty one",
            place.env_file,
        )
    return Path(path).name, content


def _strategy_file_of_the_stack(place: Place, project: str) -> tuple[str, bytes]:
    """A path in a container is none of this machine."""
    path = place.setting("STRATEGY_FILE")
    for container in filter(None, (find_container(project, service) for service in SERVICES)):
        path = variables(inspect(container)).get("STRATEGY_FILE", path)
        if not path:
            continue
        try:
            with tarfile.open(fileobj=BytesIO(copy_out(container, path))) as tar:
                entry = tar.next()
                file = tar.extractfile(entry) if entry else None
                if file and (content := file.read()):
                    return path, content
        except (tarfile.TarError, KeyError):
            continue
    return path, b""


def _spool_of_the_stack(project: str) -> bytes:
    container = find_container(project, "notifier") or find_container(project, "trader")
    if not container:
        return b""
    return copy_out(container, variables(inspect(container)).get("ALERT_SPOOL_DIR") or f"{STATE}/spool")


def _spool(place: Place) -> Path:
    state = place.setting("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(place.setting("ALERT_SPOOL_DIR") or f"{state}/autotrader/spool")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    if content:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o600
        tar.addfile(entry, BytesIO(content))
