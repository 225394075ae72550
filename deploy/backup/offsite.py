"""The copy off this device, encrypted by restic: the dump, what lies beside it, and `.env`."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup.dumps import DAILY, MONTHLY, WEEKLY, Dump, belong, check, companion, dumps_in, read_name
from deploy.backup.errors import BackupError, CopyError
from deploy.backup.journal import Journal, recorded
from deploy.backup.making import alone, in_use, note
from deploy.backup.place import Place, stamp
from deploy.backup.running import run
from deploy.backup.server import Server

log = logging.getLogger(__name__)

TAG = "autotrader"
CHECKED, COPYING = ".restic-checked", ".restic"
# what the last copy of this root held: "orders runs"
JOINED = ".restic-joined"
CHECK_SECONDS = 7 * 86_400.0
# what repositories of restic's kinds are opened with: https://restic.readthedocs.io/en/stable/040_backup.html
NEEDED = re.compile(r"(RESTIC|AWS|B2|AZURE|GOOGLE|ST|OS|RCLONE)_[A-Z0-9_]+")
SNAPSHOT = re.compile(r"[0-9a-f]{6,64}|latest")


class Repository:
    """The repository that the settings name. Raises `CopyError` where they name it and it cannot be opened."""

    def __init__(self, place: Place) -> None:
        self._place = place
        known = {name: value for name, value in place.written.items() if NEEDED.fullmatch(name) and value}
        self._environment = {**known, **{name: value for name, value in place.environment.items() if value}}
        if not place.setting("RESTIC_PASSWORD") and not place.setting("RESTIC_PASSWORD_FILE"):
            raise CopyError("RESTIC_REPOSITORY is set and RESTIC_PASSWORD is not: without it the copy is not encrypted")
        if not shutil.which("restic"):
            raise CopyError("restic is not installed; on Debian: apt-get install restic")

    def create(self) -> None:
        """Make the repository, once."""
        self._restic("init")

    def join(self) -> None:
        """Have the copies of this root go on in a repository that has some, whatever they hold. Raises `CopyError`."""
        self._has_copies()
        join(self._place, Journal(0, 0))

    def copy(self, dump: Path, server: Server) -> None:
        """Store a dump with what belongs to it, and look after the repository once a week. Raises `CopyError`, also for
        what would be the latest of copies that it does not go on from."""
        found = read_name(dump)
        files = [*(found.files() if found else (dump,)), self._place.env_file]
        there = [str(path) for path in files if path.exists()]
        # Not with the lock of the folder, which a deployment needs while everything stands still: a dump never changes.
        # Of two who copy, one waits, for restic looks after a repository alone.
        with in_use(dump), alone(self._place.backups / COPYING):
            held = recorded(companion(dump))
            if self._has_copies():
                self._refuse_a_stranger(held)
            self._restic("backup", "--quiet", "--tag", TAG, "--host", TAG, *there)
            if found:
                note(server, "away", dump, found.at)
            join(self._place, held)
            log.info("copied %s off this device", dump.name)
            self._look_after()

    def fetch(self, snapshot: str) -> Path:
        """The dump of a snapshot, with what belongs to it, in a new folder among the backups. Raises `CopyError`."""
        if not SNAPSHOT.fullmatch(snapshot):
            raise CopyError(f"restic:{snapshot} is no snapshot; write restic:latest, or an id of `backup.py list`")
        target = self._place.backups / f"fetched-{stamp(datetime.now(UTC))}"
        target.mkdir(mode=0o700, parents=True)
        self._restic("restore", snapshot, "--target", str(target), "--tag", TAG, "--host", TAG)
        dumps = sorted(path for path in target.rglob("*.dump") if read_name(path))
        if not dumps:
            raise CopyError(f"the snapshot {snapshot} holds no dump; `backup.py list` shows those that do")
        log.info("fetched %s from the copy off this device; its .env is under %s too", dumps[-1].name, target)
        return dumps[-1]

    def snapshots(self) -> str:
        """What restic says there is."""
        return self._restic("snapshots", "--compact", "--tag", TAG)

    def _has_copies(self) -> bool:
        return bool(json.loads(self._restic("snapshots", "--json", "--tag", TAG, "--host", TAG) or "[]"))

    def _refuse_a_stranger(self, held: Journal | None) -> None:
        """Raise `CopyError` for what is no continuation of the copies there: it would be restic:latest, and take the
        place of a good one of its day."""
        joined, last = _joined(self._place)
        if not joined:
            why = "the repository has copies already, and none of them was made or restored in this root"
        elif held and held.is_empty and (last is None or not last.is_empty):
            why = "the database is empty, and the repository has copies of one that was not"
        elif held and last and held < last:
            why = (
                f"the database has {held.orders} orders of {held.runs} runs, and the last copy has {last.orders} of "
                f"{last.runs}: something was lost here"
            )
        else:
            return
        raise CopyError(
            f"{why}. To have back what was copied: restore restic:latest. Only if the database here is the one to go "
            "on with: backup.py init --join"
        )

    def _look_after(self) -> None:
        checked = self._place.backups / CHECKED
        if checked.exists() and time.time() - checked.stat().st_mtime < CHECK_SECONDS:
            return
        kept = ("--keep-daily", str(DAILY), "--keep-weekly", str(WEEKLY), "--keep-monthly", str(MONTHLY))
        # Nothing is forgotten in the first week of a root: what another device has left is all there is of it.
        if checked.exists():
            # by host and tag, not by paths: each dump has a path of its own
            self._restic("forget", "--quiet", "--prune", "--tag", TAG, "--host", TAG, "--group-by", "host,tags", *kept)
        self._restic("check", "--quiet")
        checked.touch()
        belong(checked)
        log.info("checked the copies off this device: whole")

    def _restic(self, *arguments: str) -> str:
        try:
            return run(["restic", "--no-cache", *arguments], environment=self._environment)
        except BackupError as error:
            said = str(error).replace(self._place.setting("RESTIC_REPOSITORY"), "RESTIC_REPOSITORY")
            hint = "; make it once: backup.py init" if "Is there a repository" in said or "not exist" in said else ""
            if arguments[0] == "init" and "already" in said:
                hint = "; on a new device restore restic:latest, or have its own database go on there: init --join"
            raise CopyError(f"restic {arguments[0]}: {said}{hint}") from None


def copy(place: Place, dump: Path, server: Server) -> None:
    """Store the dump off this device, or say loudly that nothing does. Raises `CopyError`."""
    if not place.setting("RESTIC_REPOSITORY"):
        log.warning(
            "THE BACKUP IS ON THE SAME DISK AS THE DATABASE, and is lost with it: set RESTIC_REPOSITORY and "
            "RESTIC_PASSWORD in %s (docs/backups.md)",
            place.env_file,
        )
        return
    Repository(place).copy(dump, server)


def join(place: Place, held: Journal | None) -> None:
    """Note that what this root copies goes on from here: after a copy or a restore, what that has held."""
    marker = place.backups / JOINED
    marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker.write_text(f"{held.orders} {held.runs}\n" if held else "", encoding="utf-8")
    belong(marker)


def joined_by_restore(place: Place, dump: Path, held: Journal | None) -> None:
    """Have the copies go on from what was restored. Not where a deployment on a new device took its own step back."""
    found = read_name(dump)
    if found and found.label and not _joined(place)[0]:
        return
    try:
        join(place, held)
    except OSError as error:
        log.warning("%s cannot be written (%s): the next copy may be refused", place.backups / JOINED, error.strerror)


def _joined(place: Place) -> tuple[bool, Journal | None]:
    """Whether the copies of the repository are this root's, and what the last one held, where that is known."""
    try:
        orders, runs = (place.backups / JOINED).read_text(encoding="utf-8").split()
        return True, Journal(int(orders), int(runs))
    except FileNotFoundError:
        # a root of a version that noted only this
        return (place.backups / CHECKED).exists(), None
    except ValueError:
        return True, None


def resolve(place: Place, wanted: str) -> Path:
    """The dump that `wanted` names: a file, "latest", or "restic:SNAPSHOT". Raises `BackupError` unless it is whole."""
    if wanted.startswith("restic:"):
        if not place.setting("RESTIC_REPOSITORY"):
            raise BackupError(f"RESTIC_REPOSITORY is not set in {place.env_file}: there is no copy to fetch")
        path = Repository(place).fetch(wanted.removeprefix("restic:"))
    elif wanted == "latest":
        dumps = dumps_in(place.backups)
        if not dumps:
            raise BackupError(f"there is no dump in {place.backups}; make one, or restore restic:latest")
        path = _latest(dumps).path
    else:
        path = Path(wanted).expanduser()
        if not path.is_file() and path.name == wanted:
            path = place.backups / wanted
    check(path)
    return path


def _latest(dumps: Sequence[Dump]) -> Dump:
    """The newest that holds something: after a lost volume the last ones are of an empty database."""
    found = next((dump for dump in dumps if not dump.journal.is_empty), dumps[0])
    if found is not dumps[0]:
        log.warning("%s is newer, and of an empty database: taking %s", dumps[0].path.name, found.path.name)
    return found
