"""The stack over real servers and the real sandbox, with small stand-ins for the processes of the system."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.demo import run_demo
from sandbox.local import binaries, scratch
from sandbox.local.identity import Identity
from sandbox.processes import ProcessFailed
from sandbox.stack import ERROR_CHAT, TRADE_CHAT, Commands, Options, Stack, StackError
from settings import Settings

ROOT = Path(__file__).resolve().parents[2]

STAND_IN = """
import json, os, pathlib, sys, time
from celery import Celery
app = Celery(broker=os.environ["REDIS_URL"])
if __name__ == "__main__":
    pathlib.Path(os.environ["SEEN"], sys.argv[1]).write_text(json.dumps(dict(os.environ)))
    if sys.argv[1] in ("flower", "api"):
        from http.server import BaseHTTPRequestHandler, HTTPServer
        class Healthy(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
        ports = [part.partition("=")[2] for part in sys.argv if part.startswith("--port=")]
        port = ports[0] if ports else os.environ["API_PORT"]
        HTTPServer(("127.0.0.1", int(port)), Healthy).serve_forever()
    time.sleep(0 if sys.argv[1] == "migrate" else 600)
"""

CELERY = (sys.executable, "-m", "celery", "-A", "standin")

SUPERVISOR = """
import sys, time
sys.path.insert(0, {tests!r})
import pathlib
from test_demo_stack import stand_ins
from sandbox.stack import Options, Stack
with Stack(stand_ins(pathlib.Path({folder!r})), lambda line: None):
    print("up", flush=True)
    time.sleep(600)
"""


def stand_ins(folder: Path, **options: object) -> Options:
    """Options with a stand-in for every process but the servers and the sandbox; the workers answer pings."""
    (folder / "standin.py").write_text(STAND_IN)

    def process(name: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "standin", name)

    commands = Commands(
        migrate=process("migrate"),
        notifier=process("notifier"),
        worker=(*CELERY, "worker", "-P", "solo", "--without-mingle", "-Q", "{market}", "-n", "{market}@%h"),
        flower=process("flower"),
        beat=process("beat"),
        api=process("api"),
    )
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "SEEN": str(folder)}
    return Options(**{"feed": "simulated", "env": env, "commands": commands, **options})  # type: ignore[arg-type]


def until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def processes_of(directory: Path) -> set[int]:
    """Processes whose environment names the directory, other than this one."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(directory).encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return {pid for pid in found if Identity.of(pid).alive()} - {os.getpid()}


def gone(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of this test alone, which every user may enter and every child has in its environment."""
    directory = Path("/tmp") / f"test-demo-{os.getpid()}-{time.monotonic_ns()}"
    directory.mkdir(mode=0o755)
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    yield directory
    assert until(lambda: gone(directory))


def left_in(own_tmp: Path) -> list[str]:
    return sorted(path.name for path in own_tmp.iterdir() if path.name.startswith(scratch.PREFIX))


@pytest.fixture
def supervisor(own_tmp: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the stack, once it is up."""
    code = SUPERVISOR.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


def test_every_process_gets_the_demos_settings_and_none_of_the_users(
    own_tmp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = {
        "TELEGRAM_TOKEN": "77:real",
        "TELEGRAM_CHAT_ID": "55",
        "redis_url": "redis://production:6379/0",
        "TRADING_MODE": "live",
        "KIS_APP_KEY": "real",
        "OTEL_EXPORTER_OTLP_HEADERS": "signoz-access-token=real",
        "OTEL_SDK_DISABLED": "true",
        "SIGNOZ_ENABLED": "false",
        "CELERY_BROKER_URL": "redis://production:6379/1",
        "HTTP_PROXY": "http://proxy:3128",
        "FLOWER_PORT": "1",
    }
    for name, value in users.items():
        monkeypatch.setenv(name, value)
    told: list[str] = []
    with Stack(stand_ins(tmp_path, once=True, seed=3), told.append) as stack:
        assert until((tmp_path / "beat").exists)
        assert len(stack.group.states()) == 8
        urls, symbols = (stack.sandbox_url, stack.redis_url, stack.database_url), stack.symbols
    env = json.loads((tmp_path / "beat").read_text())
    # what the API is given opens it to whoever reads the board, and to no other process
    assert not env["API_OPERATE_TOKEN"]
    assert json.loads((tmp_path / "api").read_text())["API_OPERATE_TOKEN"]

    assert not {name for name in users if env.get(name) == users[name]} - {"HTTP_PROXY"}
    assert env["NO_PROXY"] == "*"
    with monkeypatch.context() as patch:
        for name in list(os.environ):
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        settings = Settings(_env_file=None)
    assert (settings.redis_url, settings.broker_url, settings.database_url) == (urls[1], urls[1], urls[2])
    assert settings.telegram_base_url == f"{urls[0]}/telegram"
    assert (settings.telegram_chat_id, settings.error_chat_id) == (TRADE_CHAT, ERROR_CHAT)
    assert settings.otlp_endpoint == f"{urls[0]}/otlp"
    assert settings.kis_base_url == f"{urls[0]}/kis"
    assert settings.yahoo_base_url == f"{urls[0]}/yahoo"
    assert settings.upbit_base_url == f"{urls[0]}/upbit"
    assert settings.trading_mode == "paper"
    assert settings.sweep_at_start
    assert {market: settings.symbols(market) for market in symbols} == symbols
    assert {settings.sweep_minutes(market) for market in symbols} == {0}
    assert "upbit: simulated (as requested)" in told
    assert any("never yours" in line for line in told)

    assert processes_of(own_tmp) == set()
    assert left_in(own_tmp) == []


def test_a_symbol_to_fail_hangs_at_its_venue(own_tmp: Path, tmp_path: Path) -> None:
    with Stack(stand_ins(tmp_path, fail=("005930",)), lambda line: None) as stack:
        (fault,) = stack.control.get("faults")
        assert (fault["service"], fault["symbol"], fault["kind"], fault["seconds"]) == ("kis", "005930", "hang", 60)
        assert until((tmp_path / "beat").exists)
    assert json.loads((tmp_path / "beat").read_text())["HTTP_TIMEOUT_SECONDS"] == "2"


def test_an_unknown_symbol_to_fail_is_one_line_and_leaves_nothing(own_tmp: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(StackError, match=r"^--fail NOSUCH: no such symbol here: use one of upbit KRW-BTC[^\n]*$"),
        Stack(stand_ins(tmp_path, fail=("NOSUCH",)), lambda line: None),
    ):
        pass
    assert processes_of(own_tmp) == set()
    assert left_in(own_tmp) == []


def test_a_worker_that_cannot_start_ends_the_start_with_its_last_words(own_tmp: Path, tmp_path: Path) -> None:
    doomed = (sys.executable, "-c", "raise SystemExit('autotrader: no such broker')")
    options = stand_ins(tmp_path)
    commands = Commands(
        migrate=options.commands.migrate,
        notifier=options.commands.notifier,
        api=options.commands.api,
        worker=doomed,
        flower=doomed,
    )
    with (
        pytest.raises(ProcessFailed, match=r"worker-upbit ended with exit code 1; its last lines:\n  autotrader: no"),
        Stack(stand_ins(tmp_path, commands=commands), lambda line: None),
    ):
        pass
    assert processes_of(own_tmp) == set()
    assert left_in(own_tmp) == []


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_supervisor(
    supervisor: subprocess.Popen[str], own_tmp: Path, signum: signal.Signals
) -> None:
    assert len(processes_of(own_tmp)) >= 9
    supervisor.send_signal(signum)
    supervisor.wait(30)
    assert until(lambda: processes_of(own_tmp) == set())
    if signum is signal.SIGKILL:
        assert len(left_in(own_tmp)) == 3
        scratch.sweep(own_tmp)
    assert left_in(own_tmp) == []


def test_wrong_options_are_one_line_and_exit_1(
    own_tmp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    malformed = tmp_path / "upbit"
    malformed.mkdir()
    (malformed / "KRW-BTC.1d.csv").write_text("when,price\n")
    assert run_demo(once=True, candles=tmp_path / "absent") == 1
    assert run_demo(once=True, candles=tmp_path) == 1
    assert run_demo(once=True, feed="imaginary") == 1
    assert run_demo(as_json=True) == 1
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 4
    assert "absent: no such folder" in lines[0]
    assert "KRW-BTC.1d.csv: row 1" in lines[1]
    assert "use one of auto, live, simulated" in lines[2]
    assert "--json needs --once" in lines[3]


def test_missing_servers_are_one_line_and_exit_1(
    own_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(binaries, "_package", lambda name: None)
    monkeypatch.setenv("PATH", str(own_tmp))
    assert run_demo(once=True, as_json=True, feed="simulated") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("demo: no Redis server found: install redis-server")
    assert len(output.err.splitlines()) == 1
    assert left_in(own_tmp) == []
