#!/usr/bin/env python3
"""Back the database up, and restore it: `backup.py make`, `list`, `restore FILE`, `init`.

With the standard library alone, for the Python of the operating system. What it does is told on stderr; the last line
of stdout is the answer: of `make` the finished dump, of `restore` the name of the database that was put aside.
"""

from __future__ import annotations

import argparse
import logging
import re
import signal
import sys
from pathlib import Path
from types import FrameType

# run as a script, from a checkout or a release
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.backup import offsite
from deploy.backup.dumps import companion, dumps_in
from deploy.backup.errors import BackupError, CopyError
from deploy.backup.journal import journal_of, recorded
from deploy.backup.making import make, readable
from deploy.backup.place import Place, place_at
from deploy.backup.project import project_of
from deploy.backup.restoring import kept_databases, restore
from deploy.backup.server import find_server

FAILED, NOT_COPIED, INTERRUPTED = 1, 3, 130
LABEL = re.compile(r"[a-z][a-z-]{0,30}")


def main(argv: list[str] | None = None) -> int:
    """0, or 1 when nothing was done, or 3 when the backup is good and only its copy off this device failed;
    130 when it was ended."""
    asked = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _end)
    try:
        place = place_at(Path(asked.root))
        code: int = asked.do(place, asked)
    except BackupError as error:
        sys.stderr.write(f"backup: {error}\n")
        return FAILED
    except OSError as error:
        sys.stderr.write(f"backup: {error.filename or 'the disk'}: {error.strerror}; nothing was changed\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("backup: ended before it was done; what was there is as it was\n")
        return INTERRUPTED
    return code


def _make(place: Place, asked: argparse.Namespace) -> int:
    if asked.label and not LABEL.fullmatch(asked.label):
        raise BackupError(f"the label {asked.label!r} is no word; use small letters and hyphens, such as pre-deploy")
    project = asked.project or project_of(place)
    server = find_server(place, project)
    path, code = make(place, server, asked.label, project), 0
    # one with a label is for going back here and now: it stays, and nothing waits for the network
    if not asked.label:
        try:
            offsite.copy(place, path, server)
        except CopyError as error:
            sys.stderr.write(f"backup: the backup is good, but it was NOT COPIED off this device: {error}\n")
            code = NOT_COPIED
    sys.stdout.write(f"{path}\n")
    return code


def _list(place: Place, asked: argparse.Namespace) -> int:
    for dump in dumps_in(place.backups):
        label = f"  {dump.label}" if dump.label else ""
        held = recorded(companion(dump.path))
        orders = f"  {held.orders} orders" if held else ""
        sys.stdout.write(f"{dump.path.name}  {readable(dump.size)}  schema {dump.revision}{orders}{label}\n")
    try:
        for row in kept_databases(find_server(place, asked.project or project_of(place))):
            sys.stdout.write(f"put aside by a restore, may be dropped: {row}\n")
    except BackupError as error:
        sys.stderr.write(f"backup: {error}\n")
    if place.setting("RESTIC_REPOSITORY"):
        sys.stdout.write(offsite.Repository(place).snapshots())
    return 0


def _restore(place: Place, asked: argparse.Namespace) -> int:
    project = asked.project or project_of(place)
    server = find_server(place, project)
    dump = offsite.resolve(place, asked.file)
    before = restore(place, server, dump, project)
    offsite.joined_by_restore(place, dump, journal_of(server))
    sys.stderr.write(
        f"Restored from {dump.name}. Trading is halted: what was ordered since that dump only the venues know.\n"
        "Compare `autotrader positions` and `autotrader orders` with the venues' own lists, then `autotrader resume`.\n"
        f"The database of before is kept as {before}.\n"
    )
    sys.stdout.write(f"{before}\n")
    return 0


def _init(place: Place, asked: argparse.Namespace) -> int:
    if not place.setting("RESTIC_REPOSITORY"):
        raise BackupError(f"set RESTIC_REPOSITORY and RESTIC_PASSWORD in {place.env_file} first (docs/backups.md)")
    if asked.join:
        offsite.Repository(place).join()
        sys.stderr.write("The copies of this root go on in the repository that is there.\n")
        return 0
    offsite.Repository(place).create()
    sys.stderr.write(
        "The repository is made. Keep RESTIC_PASSWORD somewhere else too: without it no copy can be read.\n"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", default=".", help="the folder with shared/.env or .env; backups/ is in it")
    said = "the compose project; without it what the root's release says, or in a checkout its overlays"
    common.add_argument("--project", default="", help=said)
    parser = argparse.ArgumentParser(prog="backup.py", description="Back the database up, and restore it.")
    commands = parser.add_subparsers(required=True, metavar="make | list | restore FILE | init")
    making = commands.add_parser("make", parents=[common], help="make a verified dump, and copy it off this device")
    making.add_argument("--label", default="", help="what it is for, such as pre-deploy; it is not copied then")
    making.set_defaults(do=_make)
    commands.add_parser("list", parents=[common], help="the dumps there are").set_defaults(do=_list)
    restoring = commands.add_parser("restore", parents=[common], help="put a dump in place of the database")
    restoring.add_argument("file", help="a dump, latest, restic:latest or restic:SNAPSHOT")
    restoring.set_defaults(do=_restore)
    beginning = commands.add_parser("init", parents=[common], help="make restic's repository, once")
    said = "the repository is there and has copies: those of this root's database go on in it, whatever they held"
    beginning.add_argument("--join", action="store_true", help=said)
    beginning.set_defaults(do=_init)
    return parser


def _end(signum: int, _: FrameType | None) -> None:
    """As Ctrl-C does: what was begun is put back."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
