"""Local servers are real ones, and nothing of them is left behind, however their owner ends."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from sandbox.local import LocalPostgres, LocalRedis, LocalServerError, MissingServer, scratch
from sandbox.local.binaries import Source, find_postgres, find_redis
from sandbox.local.identity import Identity

ROOT = Path(__file__).resolve().parents[2]

OWNER = """
import sys, time
from sandbox.local import LocalPostgres, LocalRedis
with LocalRedis() as r, LocalPostgres() as p:
    print(r.pid, p.pid, flush=True)
    time.sleep(600)
"""


def found(find: Callable[[Source], object], source: Source) -> bool:
    try:
        find(source)
    except MissingServer:
        return False
    return True


POSTGRES_SOURCES = [source for source in ("path", "wheel") if found(find_postgres, source)]


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def left_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def gone(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


@pytest.fixture
def own_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of this test alone, which every user may enter."""
    directory = Path("/tmp") / f"test-local-{os.getpid()}-{time.monotonic_ns()}"
    directory.mkdir(mode=0o755)
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    yield directory
    # a server that is ending still removes files of its own
    assert until(lambda: gone(directory))


@pytest.fixture
def owner(own_tmp: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds both servers, with their pids on its first line."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def servers_of(owner: subprocess.Popen[str]) -> list[Identity]:
    assert owner.stdout is not None
    return [Identity.of(int(pid)) for pid in owner.stdout.readline().split()]


@pytest.mark.parametrize("persist", [False, True])
def test_redis_never_evicts_and_asks_for_a_password(own_tmp: Path, persist: bool) -> None:
    with LocalRedis(persist=persist) as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes" if persist else "no"}
        client.close()
        address, _, _ = server.url.rpartition("@")[2].partition("/")
        with redis.Redis.from_url(f"redis://{address}/0") as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    assert left_in(own_tmp) == []


def test_redis_on_path_is_used_before_the_wheel(own_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = own_tmp / "bin"
    programs.mkdir()
    (programs / "redis-server").symlink_to(find_redis("wheel"))
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    assert find_redis() == programs / "redis-server"
    with LocalRedis(source="path") as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_redis_keeps_its_data_over_a_crash_when_it_persists(own_tmp: Path) -> None:
    with LocalRedis(persist=True) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "yes")
            until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0)
        server.stop(abruptly=True)
        assert server.pid is None
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"yes"


@pytest.mark.parametrize("source", POSTGRES_SOURCES)
async def test_postgres_speaks_sql_over_tcp(own_tmp: Path, source: Source) -> None:
    with LocalPostgres(source=source) as server:
        assert server.url.startswith("postgresql+asyncpg://")
        engine = create_async_engine(server.url)
        async with engine.connect() as connection:
            assert (await connection.execute(text("SHOW timezone"))).scalar_one() == "UTC"
        await engine.dispose()
    assert left_in(own_tmp) == []


async def test_postgres_asks_for_a_password(own_tmp: Path) -> None:
    with LocalPostgres() as server:
        address = server.url.rpartition("@")[2]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://autotrader:wrong@{address}")


async def test_a_new_database_is_a_copy_of_its_template(own_tmp: Path) -> None:
    with LocalPostgres() as server:
        template = await asyncpg.connect(server.create_database("migrated").replace("+asyncpg", ""))
        await template.execute("CREATE TABLE orders (id int)")
        await template.close()
        copy = await asyncpg.connect(server.create_database("test_1", template="migrated").replace("+asyncpg", ""))
        assert await copy.fetch("SELECT * FROM orders") == []
        server.drop_database("test_1")
        server.drop_database("test_1")
        await copy.close()


def test_postgres_starts_again_with_its_data_after_a_crash(own_tmp: Path) -> None:
    with LocalPostgres() as server:
        server.create_database("kept")
        server.stop(abruptly=True)
        server.start()
        with pytest.raises(asyncpg.DuplicateDatabaseError):
            server.create_database("kept")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user run the server")
def test_root_runs_the_wheel_from_a_checkout_that_others_cannot_enter(
    own_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = find_postgres("wheel").wheel
    assert wheel is not None
    private = own_tmp / "root-only"
    private.mkdir(mode=0o700)
    for name in (f"{wheel.name}/pginstall18", f"{wheel.name}.libs"):
        shutil.copytree(wheel.parent / name, private / name, symlinks=True)
    (private / wheel.name / "__init__.py").touch()
    monkeypatch.syspath_prepend(private)
    monkeypatch.chdir(private)
    assert find_postgres("wheel").wheel == private / wheel.name
    users_before = Path("/etc/passwd").read_bytes()

    with LocalPostgres(source="wheel") as server:
        assert server.pid is not None
        assert os.stat(f"/proc/{server.pid}").st_uid == pwd.getpwnam("nobody").pw_uid
        server.create_database("works")

    assert list(own_tmp.iterdir()) == [private]
    assert Path("/etc/passwd").read_bytes() == users_before


def test_a_temporary_directory_that_postgres_cannot_enter_is_passed_over(
    own_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = own_tmp / "closed"
    closed.mkdir(mode=0o700)
    own_tmp.chmod(0o700)
    monkeypatch.setattr("tempfile.tempdir", str(closed))
    with LocalPostgres() as server:
        server.create_database("works")
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_servers_die_with_their_owner(owner: subprocess.Popen[str], own_tmp: Path, signum: signal.Signals) -> None:
    servers = servers_of(owner)
    assert len(servers) == 2
    assert all(server.alive() for server in servers)

    owner.send_signal(signum)
    owner.wait()

    assert until(lambda: not any(server.alive() for server in servers))
    assert {directory.name.split("-")[2] for directory in own_tmp.iterdir()} == {"redis", "postgres"}
    assert len(scratch.sweep(own_tmp)) == 2
    assert left_in(own_tmp) == []


def test_the_next_start_removes_what_a_killed_owner_left(owner: subprocess.Popen[str], own_tmp: Path) -> None:
    servers_of(owner)
    left = set(own_tmp.iterdir())
    owner.kill()
    owner.wait()
    with LocalRedis():
        assert not left & set(own_tmp.iterdir())
    assert left_in(own_tmp) == []


def test_a_living_owner_keeps_its_directories(owner: subprocess.Popen[str], own_tmp: Path) -> None:
    servers = servers_of(owner)
    assert scratch.sweep(own_tmp) == []
    assert all(server.alive() for server in servers)


def test_ctrl_c_in_the_terminal_ends_the_servers_in_order(owner: subprocess.Popen[str], own_tmp: Path) -> None:
    servers = servers_of(owner)
    os.killpg(owner.pid, signal.SIGINT)
    owner.wait()
    assert not any(server.alive() for server in servers)
    assert left_in(own_tmp) == []


def test_an_orphan_is_ended_where_the_kernel_does_not_do_it(own_tmp: Path) -> None:
    directory = own_tmp / f"{scratch.PREFIX}redis-orphan"
    directory.mkdir()
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        (directory / scratch.OWNER).write_text(f"{dead.pid} 1")
    with subprocess.Popen(["sleep", "600"]) as orphan:
        scratch.record_server(directory, orphan.pid)
        assert scratch.sweep(own_tmp) == [directory]
        assert orphan.wait(5) != 0


def test_a_process_that_got_the_pid_of_a_dead_server_is_left_alone(own_tmp: Path) -> None:
    directory = own_tmp / f"{scratch.PREFIX}redis-recycled"
    directory.mkdir()
    with subprocess.Popen(["sleep", "600"]) as innocent:
        (directory / scratch.OWNER).write_text(f"{innocent.pid} 1")
        (directory / scratch.SERVER).write_text(f"{innocent.pid} 1")
        assert scratch.sweep(own_tmp) == [directory]
        assert innocent.poll() is None
        innocent.kill()


def test_a_given_url_starts_nothing(own_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_REDIS_URL", "redis://elsewhere:6379/3")
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://me@elsewhere/db")
    with LocalRedis(environment="TEST_REDIS_URL") as store, LocalPostgres(environment="TEST_DATABASE_URL") as database:
        assert store.url == "redis://elsewhere:6379/3"
        assert database.url == "postgresql+asyncpg://me@elsewhere/db"
        assert left_in(own_tmp) == []


def test_a_missing_server_names_the_cure(own_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(own_tmp))
    with pytest.raises(MissingServer, match=r"install redis-server, or the wheels with"), LocalRedis(source="path"):
        pass


async def test_servers_start_only_from_the_main_thread(own_tmp: Path) -> None:
    """The kernel would end the server with the thread that started it."""

    def start() -> None:
        with LocalRedis():
            pass

    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(start)
    assert left_in(own_tmp) == []


def test_a_server_that_cannot_start_shows_its_last_words(own_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalRedis() as taken:
        port = int(taken.url.rpartition(":")[2].partition("/")[0])
        monkeypatch.setattr("sandbox.local.redis.free_port", lambda: port)
        with pytest.raises(LocalServerError, match=r"(?i)in use"), LocalRedis():
            pass
    assert left_in(own_tmp) == []
