"""A backup brings everything back, and nothing that goes wrong with one costs anything."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from sandbox.local import LocalPostgres
from sandbox.local.binaries import find_postgres
from storage.backups import last_backups
from storage.tables import SCHEMA_REVISION, metadata

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "backup" / "backup.py"
PROGRAMS = find_postgres("any").initdb.resolve().parent

pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "pg_dump").exists(), reason=f"pg_dump of the server's version is not in {PROGRAMS}"
)

ORDERS = 300
ROWS = f"""
INSERT INTO runs (market, slot, status, opened_at)
    SELECT 'upbit', now() - n * interval '1 minute', 'opened', now() - n * interval '1 minute'
    FROM generate_series(1, 3000) n;
WITH chosen AS (SELECT id FROM runs ORDER BY slot LIMIT {ORDERS})
INSERT INTO run_symbols (run_id, symbol) SELECT id, 'KRW-BTC' FROM chosen;
INSERT INTO analyses (run_id, market, symbol, decision, confidence, reasons, price, model, at, indicators,
    appropriate_buy_min, appropriate_buy_max, appropriate_sell_min, appropriate_sell_max,
    buy_hope_min, buy_hope_max, sell_target_min, sell_target_max)
    SELECT run_id, 'upbit', symbol, 'buy', 70, ARRAY['근거 ''하나''', E'a\\tb\\\\c'], 123.456789012345678901, 'rules',
    now(), '{{"rsi": 12.5}}', 1, 2, 3, 4, 1, 2, 3, 4 FROM run_symbols;
INSERT INTO orders (client_order_id, analysis_id, run_id, market, symbol, side, quantity, price, currency, state)
    SELECT 'order-' || id, id, run_id, market, symbol, 'buy', 0.12345678, 98765432.1, 'KRW', 'planned' FROM analyses;
INSERT INTO order_events (order_id, to_state) SELECT id, 'planned' FROM orders;
"""
# one after the other: of a symbol only one may be on its way
ON_THEIR_WAY = """
DO $$ DECLARE each uuid; BEGIN
    FOR each IN SELECT id FROM orders LOOP
        UPDATE orders SET state = 'sending' WHERE id = each;
        INSERT INTO order_events (order_id, from_state, to_state) VALUES (each, 'planned', 'sending');
        UPDATE orders SET state = 'accepted', venue_order_id = 'v-' || each WHERE id = each;
        INSERT INTO order_events (order_id, from_state, to_state, payload)
            VALUES (each, 'sending', 'accepted', '{"uuid": "한글"}');
    END LOOP;
END $$;
INSERT INTO fills (market, trade_id, order_id, quantity, price, fee, at)
    SELECT 'upbit', 't-' || id, id, 0.1, 98765432.1, 0.05, now() FROM orders;
INSERT INTO armings (market, until, set_by) VALUES ('upbit', now() + interval '1 day', 'test');
"""


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(plain(url))
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def scalar(url: str, sql: str) -> object:
    connection = await asyncpg.connect(plain(url))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def contents(url: str) -> dict[str, tuple[int, str]]:
    """The number of rows of every table, and a hash over all of them."""
    found = {}
    connection = await asyncpg.connect(plain(url))
    try:
        for table in metadata.sorted_tables:
            rows = sorted(str(row[0]) for row in await connection.fetch(f"SELECT t::text FROM {table.name} t"))
            found[table.name] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
    finally:
        await connection.close()
    return found


def environment(url: str, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    path = f"{Path(sys.executable).parent}:{kept.pop('PATH')}"
    return {**kept, "PATH": path, "DATABASE_URL": url, "PG_BIN": str(PROGRAMS), "XDG_STATE_HOME": "/nowhere", **more}


def backup(root: Path, url: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--root", str(root)],
        env=environment(url, **more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def begun(root: Path, url: str) -> subprocess.Popen[bytes]:
    """A backup that is under way, with its programs in a group of their own."""
    argv = [sys.executable, str(SCRIPT), "make", "--root", str(root)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(argv, env=environment(url), stdout=quiet, stderr=quiet, start_new_session=True)


def made(root: Path, url: str, *arguments: str, **more: str) -> Path:
    done = backup(root, url, "make", *arguments, **more)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture
def filled_url(postgres_server: LocalPostgres, migrated_template: str) -> Iterator[str]:
    """A database that nothing is connected to, and that may be renamed."""
    name = f"backup_{uuid4().hex[:12]}"
    url = postgres_server.create_database(name, migrated_template)
    yield url

    async def databases() -> list[str]:
        connection = await asyncpg.connect(plain(postgres_server.url))
        try:
            return [row[0] for row in await connection.fetch("SELECT datname FROM pg_database")]
        finally:
            await connection.close()

    for found in asyncio.run(databases()):
        if found.startswith(name):
            postgres_server.drop_database(found)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "release.json").write_text('{"id": "20261122T000000Z-abc1234"}', encoding="utf-8")
    return tmp_path


def test_everything_comes_back_and_trading_waits_for_a_person(filled_url: str, root: Path) -> None:
    asyncio.run(execute(filled_url, ROWS))
    asyncio.run(execute(filled_url, ON_THEIR_WAY))
    dump = made(root, filled_url)
    before = asyncio.run(contents(filled_url))
    assert before["runs"][0] == 3000
    assert before["orders"][0] == before["fills"][0] == ORDERS
    assert before["order_events"][0] == 3 * ORDERS
    wipe = f"SET session_replication_role = replica; TRUNCATE {', '.join(t.name for t in metadata.sorted_tables)}"
    asyncio.run(execute(filled_url, wipe))

    done = backup(root, filled_url, "restore", dump.name)

    assert done.returncode == 0, done.stderr
    after = asyncio.run(contents(filled_url))
    # what a restore adds, and nothing else
    changed = {"backups", "trading_states", "armings"}
    assert {name: rows for name, rows in after.items() if name not in changed} == {
        name: rows for name, rows in before.items() if name not in changed
    }
    state = "SELECT state || ' by ' || set_by FROM trading_states WHERE market IS NULL"
    assert asyncio.run(scalar(filled_url, state)) == "halted by restore"
    assert asyncio.run(scalar(filled_url, "SELECT until <= now() FROM armings ORDER BY seq DESC LIMIT 1")) is True
    # the guards are back with the tables
    with pytest.raises(asyncpg.CheckViolationError):
        asyncio.run(execute(filled_url, "UPDATE fills SET fee = 0"))
    aside = done.stdout.splitlines()[-1]
    kept = make_url(filled_url).set(database=aside).render_as_string(hide_password=False)
    assert asyncio.run(scalar(kept, "SELECT count(*) FROM orders")) == 0
    assert aside in backup(root, filled_url, "list").stdout


def test_the_database_is_told_when_it_was_backed_up(filled_url: str, root: Path) -> None:
    never = asyncio.run(last_backups(filled_url))
    assert (never.local, never.age("local", datetime.now(UTC)).total_seconds()) == (None, 0)
    made(root, filled_url)
    now = datetime.now(UTC)
    seen = asyncio.run(last_backups(filled_url))
    assert seen.away is None
    assert 0 <= seen.age("local", now).total_seconds() < 120


def test_a_dump_of_an_older_schema_is_brought_to_this_one(filled_url: str, root: Path) -> None:
    from storage.migrate import downgrade

    asyncio.run(downgrade(filled_url, "0008"))
    done = backup(root, filled_url, "make")
    assert done.returncode == 0, done.stderr
    assert "too old to be told" in done.stderr
    dump = Path(done.stdout.strip())
    assert "-0008.dump" in dump.name
    assert backup(root, filled_url, "restore", "latest").returncode == 0
    assert asyncio.run(scalar(filled_url, "SELECT version_num FROM alembic_version")) == SCHEMA_REVISION


def test_a_dump_of_a_newer_version_is_refused_and_the_database_stays(filled_url: str, root: Path) -> None:
    asyncio.run(execute(filled_url, "UPDATE alembic_version SET version_num = '9999'"))
    made(root, filled_url)
    asyncio.run(execute(filled_url, f"UPDATE alembic_version SET version_num = '{SCHEMA_REVISION}'"))
    done = backup(root, filled_url, "restore", "latest")
    assert done.returncode == 1
    assert f"at migration 9999, newer than the {SCHEMA_REVISION} of this version" in done.stderr
    assert "as it was" in done.stderr
    assert "Traceback" not in done.stderr
    assert asyncio.run(scalar(filled_url, "SELECT version_num FROM alembic_version")) == SCHEMA_REVISION
    mine = make_url(filled_url).database
    left = f"SELECT count(*) FROM pg_database WHERE starts_with(datname, '{mine}_')"
    assert asyncio.run(scalar(filled_url, left)) == 0


def test_a_restore_waits_for_no_reader_and_is_refused_while_somebody_trades(filled_url: str, root: Path) -> None:
    made(root, filled_url)

    async def beside(name: str) -> tuple[subprocess.CompletedProcess[str], bool]:
        """A restore while somebody is connected by this name, and whether he still is."""
        connection = await asyncpg.connect(plain(filled_url), server_settings={"application_name": name})
        try:
            done = await asyncio.to_thread(backup, root, filled_url, "restore", "latest")
            return done, not connection.is_closed()
        finally:
            connection.terminate()

    done, stayed = asyncio.run(beside("autotrader-worker-upbit"))
    assert (done.returncode, stayed) == (1, True)
    assert "autotrader-worker-upbit still use the database; stop all processes" in done.stderr
    done, stayed = asyncio.run(beside("grafana"))
    assert (done.returncode, stayed) == (0, False), done.stderr


def test_a_damaged_or_foreign_file_is_refused_by_its_name(filled_url: str, root: Path) -> None:
    dump = made(root, filled_url)
    content = dump.read_bytes()
    dump.write_bytes(content[:-100])
    done = backup(root, filled_url, "restore", str(dump))
    assert (done.returncode, "its SHA-256 differs" in done.stderr) == (1, True)
    other = root / "letter.dump"
    other.write_text("hello", encoding="utf-8")
    assert "is no dump of PostgreSQL" in backup(root, filled_url, "restore", str(other)).stderr
    other.write_bytes(content)
    assert "letter.dump.sha256 is missing or empty" in backup(root, filled_url, "restore", str(other)).stderr
    assert "No such file" in backup(root, filled_url, "restore", "nothing.dump").stderr
    # cut off, and hashed so by whoever moved it: pg_restore reads all of it before anything is done
    other.write_bytes(content[: len(content) // 2])
    (root / "letter.dump.sha256").write_text(f"{hashlib.sha256(other.read_bytes()).hexdigest()}  letter.dump\n")
    done = backup(root, filled_url, "restore", str(other))
    assert (done.returncode, "pg_restore: " in done.stderr) == (1, True)


def test_a_backup_without_its_database_says_so_and_leaves_nothing(root: Path, filled_url: str) -> None:
    gone = make_url(filled_url).set(port=1).render_as_string(hide_password=False)
    done = backup(root, gone, "make")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "start it, or correct DATABASE_URL" in done.stderr
    assert str(make_url(filled_url).password) not in done.stderr
    assert not list(root.rglob("*.dump*"))
    assert "there is no dump" in backup(root, filled_url, "restore", "latest").stderr


def test_a_backup_that_is_killed_leaves_nothing_that_looks_whole(filled_url: str, root: Path) -> None:
    asyncio.run(execute(filled_url, ROWS))

    async def killed_while_it_waits_for_a_table() -> None:
        connection = await asyncpg.connect(plain(filled_url))
        try:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            process = begun(root, filled_url)
            deadline = time.monotonic() + 60
            while not list((root / "backups").glob("*.partial")):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            await transaction.rollback()
        finally:
            await connection.close()

    asyncio.run(killed_while_it_waits_for_a_table())
    assert list((root / "backups").glob("*.partial"))
    assert not list((root / "backups").glob("*.dump"))
    assert made(root, filled_url).exists()
    assert not list((root / "backups").glob("*.partial"))


def test_what_is_made_is_for_its_owner_only_and_says_what_it_belongs_to(filled_url: str, root: Path) -> None:
    dump = made(root, filled_url, "--label", "pre-deploy")
    assert dump.name.endswith(f"-{SCHEMA_REVISION}-pre-deploy.dump")
    assert dump.parent.stat().st_mode & 0o777 == 0o700
    files = sorted(dump.parent.glob("2*"))
    assert [path.name.partition(".")[2] for path in files] == ["dump", "dump.sha256", "files.tar"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    subprocess.run(["sha256sum", "--check", "--quiet", f"{dump.name}.sha256"], cwd=dump.parent, check=True)
    listed = subprocess.run(["tar", "-tf", str(files[2])], capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["release.json", "backup.json"]
    done = backup(root, filled_url, "make", "--label", "../up")
    assert (done.returncode, "is no word" in done.stderr) == (1, True)
