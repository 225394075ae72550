"""After a card or a volume is lost, what is fresh and empty takes the place of no good copy."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from sandbox.local import LocalPostgres
from sandbox.local.binaries import find_postgres

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "backup" / "backup.py"
PASSWORD = "password-of-the-copies"
WEEK = 8 * 86_400

pytestmark = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed; apt-get install restic"
)

RUN = "INSERT INTO runs (market, slot, status, opened_at) VALUES ('upbit', now(), 'opened', now());"
ORDER = """
INSERT INTO run_symbols (run_id, symbol) SELECT id, 'KRW-BTC' FROM runs LIMIT 1;
INSERT INTO analyses (run_id, market, symbol, decision, confidence, reasons, price, model, at, indicators,
    appropriate_buy_min, appropriate_buy_max, appropriate_sell_min, appropriate_sell_max,
    buy_hope_min, buy_hope_max, sell_target_min, sell_target_max)
    SELECT run_id, 'upbit', symbol, 'buy', 70, ARRAY['x'], 123, 'rules', now(), '{}', 1, 2, 3, 4, 1, 2, 3, 4
    FROM run_symbols;
INSERT INTO orders (client_order_id, analysis_id, run_id, market, symbol, side, quantity, price, currency, state,
    created_at)
    SELECT 'order', id, run_id, market, symbol, 'buy', 1, 2, 'KRW', 'planned', '2026-11-22T04:05:06Z' FROM analyses;
INSERT INTO order_events (order_id, to_state) SELECT id, 'planned' FROM orders;
"""
LOST = "SET session_replication_role = replica; TRUNCATE order_events, orders, analyses, run_symbols, runs CASCADE"


class Device:
    """A root with the settings that open the repository, and a database of its own."""

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url = root, url
        away = root.parent / "away"
        root.mkdir()
        (root / ".env").write_text(
            f"DATABASE_URL={url}\nRESTIC_REPOSITORY={away}\nRESTIC_PASSWORD={PASSWORD}\n", encoding="utf-8"
        )
        self._restic = {"RESTIC_REPOSITORY": str(away), "RESTIC_PASSWORD": PASSWORD}

    def backup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        programs = str(find_postgres("any").initdb.resolve().parent)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            [sys.executable, str(SCRIPT), *arguments, "--root", str(self.root), "--project=none-of-this-name"],
            env={"PATH": path, "HOME": str(self.root), "PG_BIN": programs},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def make(self) -> subprocess.CompletedProcess[str]:
        # the names of dumps have seconds
        time.sleep(1.1)
        return self.backup("make")

    def copies(self) -> list[str]:
        words = ["restic", "--no-cache", "snapshots", "--json"]
        done = subprocess.run(words, env={**os.environ, **self._restic}, capture_output=True, check=True)
        return [
            next(Path(path).name for path in one["paths"] if path.endswith(".dump")) for one in json.loads(done.stdout)
        ]

    def execute(self, sql: str) -> None:
        async def on_its_own() -> None:
            url = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
            connection = await asyncpg.connect(url)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        asyncio.run(on_its_own())

    def look_after_is_due(self) -> None:
        checked = self.root / "backups" / ".restic-checked"
        os.utime(checked, (time.time() - WEEK, time.time() - WEEK))


@pytest.fixture
def url(postgres_server: LocalPostgres, migrated_template: str) -> Iterator[str]:
    name = f"device_{uuid4().hex[:12]}"
    yield postgres_server.create_database(name, migrated_template)

    async def databases() -> list[str]:
        plain = make_url(postgres_server.url).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(plain)
        try:
            return [row[0] for row in await connection.fetch("SELECT datname FROM pg_database")]
        finally:
            await connection.close()

    for found in asyncio.run(databases()):
        if found.startswith(name):
            postgres_server.drop_database(found)


@pytest.fixture
def device(tmp_path: Path, url: str) -> Device:
    """One that has traded, with a good copy in the repository."""
    device = Device(tmp_path / "device", url)
    assert device.backup("init").returncode == 0
    device.execute(RUN + ORDER)
    done = device.backup("make")
    assert done.returncode == 0, done.stderr
    assert len(device.copies()) == 1
    return device


def test_a_new_device_copies_nothing_until_it_has_back_what_was_copied(device: Device) -> None:
    [good] = device.copies()
    shutil.rmtree(device.root)
    device.execute(LOST)
    new = Device(device.root, device.url)
    # it was started before, and has had its first run
    new.execute(f"SET session_replication_role = origin; {RUN}")

    done = new.make()

    assert done.returncode == 3
    assert "has copies already, and none of them was made or restored in this root" in done.stderr
    assert "restore restic:latest" in done.stderr
    assert new.copies() == [good]
    done = new.backup("restore", "restic:latest")
    assert done.returncode == 0, done.stderr
    assert "the database has 1 orders, the newest of 2026-11-22 04:05 UTC now" in done.stderr
    # and goes on from there, without a good one of before being forgotten
    done = new.make()
    assert done.returncode == 0, done.stderr
    assert len(new.copies()) == 2
    assert good in new.copies()
    # in the next week it looks after them as ever: one of a day
    new.look_after_is_due()
    done = new.make()
    assert done.returncode == 0, done.stderr
    assert len(new.copies()) == 1


def test_a_lost_volume_costs_no_good_copy_and_no_good_dump(device: Device) -> None:
    [good] = device.copies()
    device.look_after_is_due()
    device.execute(LOST)

    done = device.make()

    assert (done.returncode, "the database is empty" in done.stderr) == (3, True), done.stderr
    assert device.copies() == [good]
    listed = device.backup("list").stdout
    assert re.search(rf"^{re.escape(good)} .*  1 orders$", listed, re.MULTILINE)
    assert "  0 orders\n" in listed
    done = device.backup("restore", "latest")
    assert done.returncode == 0, done.stderr
    assert f"taking {good}" in done.stderr
    assert "the database has 1 orders" in done.stderr


def test_whoever_begins_anew_says_so(device: Device) -> None:
    device.execute(f"{LOST}; SET session_replication_role = origin; {RUN}")
    done = device.make()
    assert done.returncode == 3
    assert "the database has 0 orders of 1 runs, and the last copy has 1 of 1: something was lost here" in done.stderr
    done = device.backup("init")
    assert (done.returncode, "init --join" in done.stderr) == (1, True)
    done = device.backup("init", "--join")
    assert (done.returncode, "go on in the repository" in done.stderr) == (0, True)
    done = device.make()
    assert done.returncode == 0, done.stderr
    assert len(device.copies()) == 2
