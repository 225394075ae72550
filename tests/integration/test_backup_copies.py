"""Which dumps are kept, and the encrypted copy off the device."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url

from deploy.backup.dumps import Dump, companion, expired, read_name
from deploy.backup.errors import BackupError
from deploy.backup.place import place_at
from deploy.backup.server import connection_of
from sandbox.local import LocalPostgres
from sandbox.local.binaries import find_postgres
from storage.backups import OLDEST, Backups, last_backups

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "backup" / "backup.py"
PASSWORD = "password-of-the-copies"
NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)

needs_restic = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed; apt-get install restic"
)


def dump(at: datetime, label: str = "") -> Dump:
    found = read_name(Path(f"{at:%Y%m%dT%H%M%SZ}-0009{f'-{label}' if label else ''}.dump"))
    assert found
    assert (found.at, found.revision, found.label) == (at, "0009", label)
    return found


def test_a_year_of_backups_leaves_days_weeks_and_months() -> None:
    dumps = [dump(NOW - timedelta(days=day)) for day in range(365)]
    # what remains when each day's backup is made and the expired ones are removed
    kept: list[Dump] = []
    for made in reversed(dumps):
        kept.append(made)
        gone = expired(kept, [])
        kept = [one for one in kept if one not in gone]
    ages = [(NOW - one.at).days for one in reversed(kept)]
    assert ages[:7] == [0, 1, 2, 3, 4, 5, 6]
    weeks = {one.at.strftime("%G-%V") for one in kept}
    months = {one.at.strftime("%Y-%m") for one in kept}
    assert len(weeks) >= 4
    assert len(months) >= 6
    assert len(kept) <= 7 + 4 + 6
    assert max(ages) > 120


def test_a_day_of_backups_never_pushes_out_the_older_ones() -> None:
    many = [dump(NOW - timedelta(minutes=minute)) for minute in range(60)]
    old = [dump(NOW - timedelta(days=3)), dump(NOW - timedelta(days=40))]
    assert set(expired([*many, *old], [])) == set(many[1:])


def test_a_dump_of_a_database_that_lost_its_rows_takes_no_place_of_a_good_one(tmp_path: Path) -> None:
    def holding(minutes: int, orders: int | None, runs: int = 9) -> Dump:
        made = tmp_path / dump(NOW - timedelta(minutes=minutes)).path.name
        about = json.dumps({} if orders is None else {"orders": orders, "runs": runs}).encode()
        with tarfile.open(companion(made), "w") as tar:
            entry = tarfile.TarInfo("backup.json")
            entry.size = len(about)
            tar.addfile(entry, io.BytesIO(about))
        found = read_name(made)
        assert found
        return found

    empty, fresh, good, older = holding(1, 0, 0), holding(2, 0, 1), holding(3, 500), holding(4, 499)
    assert expired([empty, fresh, good, older], []) == [fresh, older]
    # of a version that noted nothing, the last before the loss
    unknown = holding(3, None)
    assert expired([empty, unknown], []) == []
    assert expired([holding(1, 7), unknown], []) == [unknown]


def test_a_labelled_dump_is_kept_as_long_as_a_release_of_its_time() -> None:
    labelled = [dump(NOW - timedelta(days=day), "pre-deploy") for day in (0, 1, 2, 10, 20, 30)]
    assert expired(labelled, []) == labelled[3:]
    assert expired(labelled, [NOW - timedelta(days=20), NOW]) == labelled[5:]
    # and takes no place of the others
    plain = [dump(NOW - timedelta(days=day)) for day in range(3)]
    assert expired([*labelled[:3], *plain], []) == []


def test_the_settings_are_read_as_a_shell_reads_them(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / ".env").write_text("A=of the wrong file\n", encoding="utf-8")
    text = "# a comment\nexport A='in quotes # no comment'\nB=bare # comment\nC=\nD=\"a=b\"\nE=1\nnot an assignment\n"
    (tmp_path / "shared" / ".env").write_text(text, encoding="utf-8")
    place = place_at(tmp_path, {"E": "2"})
    assert [place.setting(name) for name in "ABCDEF"] == ["in quotes # no comment", "bare", "", "a=b", "2", ""]


def test_a_password_goes_to_the_programs_by_the_environment() -> None:
    given = connection_of("postgresql+asyncpg://me:p%40ss@host:5433/db?ssl=require")
    assert given == {
        "PGHOST": "host",
        "PGPORT": "5433",
        "PGUSER": "me",
        "PGPASSWORD": "p@ss",
        "PGSSLMODE": "require",
        "PGDATABASE": "db",
        "PGCONNECT_TIMEOUT": "10",
    }
    with pytest.raises(BackupError, match="is no database URL"):
        connection_of("localhost")


def test_what_was_never_backed_up_is_as_old_as_the_first_run() -> None:
    never = Backups(None, None, NOW - 2 * OLDEST)
    assert never.age("local", NOW) == never.age("away", NOW) == 2 * OLDEST
    assert Backups(NOW, None, None).age("away", NOW + OLDEST) == timedelta()
    assert Backups(NOW, None, NOW - 2 * OLDEST).age("local", NOW + OLDEST) == OLDEST


def backup(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    programs = str(find_postgres("any").initdb.resolve().parent)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--root", str(root)],
        env={"PATH": path, "HOME": str(root), "PG_BIN": programs, **more},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture
def root(tmp_path: Path, module_database_url: str, postgres_server: LocalPostgres) -> Iterator[Path]:
    env = f"DATABASE_URL={module_database_url}\nRESTIC_REPOSITORY={tmp_path / 'away'}\nRESTIC_PASSWORD={PASSWORD}\n"
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / ".env").write_text(env, encoding="utf-8")
    yield tmp_path / "device"
    for name in asyncio.run(put_aside(module_database_url)):
        postgres_server.drop_database(name)


async def put_aside(url: str) -> list[str]:
    """The databases that restores of this one left."""
    parts = make_url(url)
    connection = await asyncpg.connect(parts.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        found = await connection.fetch("SELECT datname FROM pg_database")
        return [row[0] for row in found if row[0].startswith(f"{parts.database}_")]
    finally:
        await connection.close()


def url_of(root: Path) -> str:
    return (root / ".env").read_text(encoding="utf-8").partition("\n")[0].removeprefix("DATABASE_URL=")


@needs_restic
def test_the_copy_is_encrypted_and_comes_back_without_the_device(root: Path) -> None:
    project = "--project=none-of-this-name"
    # before the repository is made, the backup is made all the same
    done = backup(root, "make", project)
    assert done.returncode == 3
    assert "was NOT COPIED off this device" in done.stderr
    assert "make it once: backup.py init" in done.stderr
    assert Path(done.stdout.strip()).exists()
    assert asyncio.run(last_backups(url_of(root))).away is None

    assert backup(root, "init", project).returncode == 0
    done = backup(root, "make", project)
    assert done.returncode == 0, done.stderr
    assert "checked the copies off this device: whole" in done.stderr
    dump = Path(done.stdout.strip())
    away = asyncio.run(last_backups(url_of(root))).away
    assert away == read_name(dump).at  # type: ignore[union-attr]
    for stored in (root.parent / "away").rglob("*"):
        assert not stored.is_file() or PASSWORD.encode() not in stored.read_bytes()

    # the card is lost: what is left is the repository, and the two lines that open it
    lines = (root / ".env").read_text(encoding="utf-8")
    shutil.rmtree(root)
    root.mkdir()
    (root / ".env").write_text(lines, encoding="utf-8")
    done = backup(root, "restore", "restic:latest", project)
    assert done.returncode == 0, done.stderr
    assert f"Restored from {dump.name}" in done.stderr
    [fetched] = (root / "backups").glob("fetched-*")
    assert [path.read_text(encoding="utf-8") for path in fetched.rglob(".env")] == [lines]
    assert "is no snapshot" in backup(root, "restore", "restic:../..", project).stderr
    assert all(PASSWORD not in text for text in (done.stdout, done.stderr))


@needs_restic
def test_a_copy_that_takes_long_neither_keeps_a_backup_waiting_nor_loses_its_dump(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy.backup import making
    from deploy.backup.dumps import hash_file
    from deploy.backup.offsite import Repository
    from deploy.backup.server import find_server

    project = "none-of-this-name"
    # whoever waits for a lock does so in vain
    monkeypatch.setattr(making, "PATIENCE_SECONDS", 0.0)
    place = place_at(root, {"PG_BIN": str(find_postgres("any").initdb.resolve().parent)})
    server, repository = find_server(place, project), Repository(place)
    repository.create()
    made = making.make(place, server, "", project)
    with making.alone(place.backups):
        repository.copy(made, server)
    # of two dumps of a day the older one goes, but not while it is copied
    older = made.with_name(f"{datetime.now(UTC) - timedelta(seconds=1):%Y%m%d}T000000Z-0001.dump")
    shutil.copy(made, older)
    shutil.copy(hash_file(made), hash_file(older))
    shutil.copy(companion(made), companion(older))
    with making.in_use(older):
        made = making.make(place, server, "", project)
        assert older.exists()
    made = making.make(place, server, "", project)
    assert made.exists()
    assert not older.exists()


def test_without_a_place_off_the_device_it_says_so_every_time(root: Path) -> None:
    url = make_url(url_of(root)).render_as_string(hide_password=False)
    (root / ".env").write_text(f"DATABASE_URL={url}\n", encoding="utf-8")
    done = backup(root, "make", "--project=none-of-this-name")
    assert done.returncode == 0
    assert "ON THE SAME DISK" in done.stderr
    assert "RESTIC_REPOSITORY is not set" in backup(root, "restore", "restic:latest", "--project=x").stderr
    assert "set RESTIC_REPOSITORY and RESTIC_PASSWORD" in backup(root, "init").stderr


def test_a_full_disk_is_seen_before_anything_is_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deploy.backup import making
    from deploy.backup.server import find_server

    (root / ".env").write_text(f"DATABASE_URL={url_of(root)}\n", encoding="utf-8")
    environment = {"PG_BIN": str(find_postgres("any").initdb.resolve().parent)}
    place = place_at(root, environment)
    # more than any disk has
    monkeypatch.setattr(making, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(BackupError, match=r"MiB free, and a backup may take .* make room"):
        making.make(place, find_server(place, "none-of-this-name"), "", "none-of-this-name")
    assert not list(place.backups.glob("*.dump*"))
