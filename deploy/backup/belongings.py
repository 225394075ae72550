"""What belongs to a backup and is not in the database.

Without secrets: `.env` leaves the device only inside the encrypted copy. And without Redis: what is there is of now.
Queues repeat themselves with the next tick, leases and limits end, and what must not be lost is in PostgreSQL.
"""

from __future__ import annotations

import json
import os
import tarfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from deploy.backup.containers import copy_out, find_container, inspect, variables
from deploy.backup.dumps import PARTIAL, belong, companion, sync
from deploy.backup.place import Place
from deploy.backup.server import Server

STATE = "/var/lib/autotrader"


def gather(place: Place, server: Server, dump: Path, project: str) -> None:
    """Put beside a dump: which release it was, the file of strategies, and alerts that waited on the disk."""
    part = companion(dump).with_name(companion(dump).name + PARTIAL)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        for path in (place.release / "release.json", Path(place.setting("STRATEGY_FILE") or "/nowhere")):
            if path.is_file():
                tar.add(path, path.name)
        if server.container:
            _add(tar, "spool.tar", _spool_of_the_stack(project))
        elif (folder := _spool(place)).is_dir():
            tar.add(folder, "spool")
        about = {"dump": dump.name, "root": str(place.root), "made": datetime.now(UTC).isoformat()}
        _add(tar, "backup.json", json.dumps(about).encode())
    belong(part)
    sync(part)
    part.rename(companion(dump))


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
