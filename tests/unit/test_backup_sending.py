"""A dump that is sent to a Pi to be restored is there wholly or not at all, and replaces none of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "backup" / "backup.sh"
NAME = "20261122T012000Z-0009.dump"
DUMP = b"PGDMP" + bytes(range(256)) * 4000
# the shell at the other end, which is what sshd starts; with CUT the line breaks off after so many bytes
SSH = """#!/bin/sh
for word; do last=$word; done
case $last in *'cat >'*) [ -z "${CUT:-}" ] || { head -c "$CUT" | sh -c "$last"; exit 255; } ;; esac
exec sh -c "$last"
"""


class Pi:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "it's a root"
        self.backups = self.root / "backups"
        self.backups.mkdir(parents=True)
        self.asked = self.root / "asked"
        program = self.root / "current" / "deploy" / "backup" / "backup.py"
        program.parent.mkdir(parents=True)
        program.write_text(f"import sys\nopen({str(self.asked)!r}, 'w').write(' '.join(sys.argv[1:]))\n")
        (folder / "bin").mkdir()
        (folder / "bin" / "ssh").write_text(SSH)
        (folder / "bin" / "ssh").chmod(0o755)
        self._path = f"{folder / 'bin'}:{os.environ['PATH']}"

    def restore(self, file: Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPT), "restore"],
            env={"PATH": self._path, "PI": "pi@it", "PI_ROOT": str(self.root), "FILE": str(file), "YES": "1", **more},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=60,
            check=False,
        )

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.backups.iterdir()}


def beside(path: Path) -> bytes:
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode()


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "here" / NAME
    path.parent.mkdir()
    path.write_bytes(DUMP)
    path.with_name(f"{NAME}.sha256").write_bytes(beside(path))
    return path


def test_what_is_sent_is_there_with_its_hash_and_is_restored(pi: Pi, mine: Path) -> None:
    done = pi.restore(mine)
    assert (done.returncode, done.stderr) == (0, "")
    assert pi.files() == {NAME: DUMP, f"{NAME}.sha256": beside(mine)}
    assert pi.asked.read_text() == f"restore {NAME} --root {pi.root}"


def test_a_line_that_breaks_off_leaves_nothing_that_looks_whole(pi: Pi, mine: Path) -> None:
    done = pi.restore(mine, CUT="100000")
    assert done.returncode == 1
    assert "did not come to pi@it whole; nothing was changed there" in done.stderr
    assert pi.files() == {}
    assert not pi.asked.exists()
    assert pi.restore(mine).returncode == 0
    assert pi.files()[NAME] == DUMP


def test_the_dump_that_the_pi_has_itself_is_not_written_again(pi: Pi, mine: Path) -> None:
    (pi.backups / NAME).write_bytes(DUMP)
    before = (pi.backups / NAME).stat()
    # whatever became of the line, it is not sent
    done = pi.restore(mine, CUT="100000")
    assert done.returncode == 0, done.stderr
    after = (pi.backups / NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert pi.files() == {NAME: DUMP, f"{NAME}.sha256": beside(mine)}


def test_another_dump_of_the_same_name_stays(pi: Pi, mine: Path) -> None:
    (pi.backups / NAME).write_bytes(b"PGDMP of the Pi")
    done = pi.restore(mine)
    assert done.returncode == 1
    assert f"has another {NAME} in {pi.backups}, and it stays" in done.stderr
    assert pi.files() == {NAME: b"PGDMP of the Pi"}
    assert not pi.asked.exists()


def test_one_that_is_damaged_here_is_not_sent_as_whole(pi: Pi, mine: Path) -> None:
    mine.write_bytes(DUMP[:-1])
    assert "did not come to pi@it whole" in pi.restore(mine).stderr
    assert pi.files() == {}


def test_a_root_of_a_pi_without_the_pi_acts_on_nothing_here(pi: Pi, mine: Path) -> None:
    done = pi.restore(mine, PI="")
    assert (done.returncode, "say PI=user@host too" in done.stderr) == (2, True)
    assert str(pi.root / "current" / "deploy" / "backup" / "backup.py") in done.stderr
