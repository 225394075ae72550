"""A process that hangs says so at a port that still answers, and then ends by itself."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry import pulse

ROOT = Path(__file__).resolve().parents[2]
HEALTH = ROOT / "deploy" / "health.py"

# a process of ours in small: telemetry with its port, one part that takes turns, and a wish on stdin
PROCESS = """
import sys, threading, time
from telemetry import pulse
from telemetry.setup import TelemetryConfig, start

port, patience = int(sys.argv[1]), float(sys.argv[2])
start(TelemetryConfig("t", "beat", "beat@here", "test", "", "http/protobuf", True, port))
part, hangs = pulse.Pulse("the beat", patience), threading.Event()

def turn():
    while not hangs.wait(0.1):
        part.beat()

print("listens", flush=True)
sys.stdin.readline()
threading.Thread(target=turn, daemon=True).start()
while not part.silent():
    time.sleep(0.01)
pulse.started()
print("started", flush=True)
sys.stdin.readline()
hangs.set()
print("hangs", flush=True)
time.sleep(120)
"""


def healthy(port: int, *arguments: str, **environ: str) -> tuple[int, str]:
    """What the health check of the image says, as it is run there."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(HEALTH), *arguments],
        env={"PROMETHEUS_PORT": str(port), "HOSTNAME": "beat", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr
    return done.returncode, done.stdout.strip()


@pytest.fixture
def process(free_port: int) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(free_port), "6"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@pytest.fixture
def free_port() -> int:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return server.server_port


def say(process: subprocess.Popen[str], expected: str) -> None:
    assert process.stdin
    assert process.stdout
    if expected != "listens":
        process.stdin.write("go on\n")
        process.stdin.flush()
    assert process.stdout.readline().strip() == expected


def test_a_process_that_hangs_is_unhealthy_though_its_port_answers_and_then_ends(
    process: subprocess.Popen[str], free_port: int
) -> None:
    say(process, "listens")
    assert healthy(free_port) == (1, "beat: it is starting")
    say(process, "started")
    assert healthy(free_port) == (0, "ok")
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=30) as answer:
        assert b"process_memory_usage" in answer.read()
    say(process, "hangs")
    code, says = 0, ""
    while not code and process.poll() is None:
        code, says = healthy(free_port)
    assert says.startswith("beat: the beat has not turned for")
    assert process.wait(60) == pulse.EXIT_STUCK
    assert "the beat has not turned for" in process.communicate()[1]


def test_a_port_that_nobody_has_is_unhealthy(free_port: int) -> None:
    assert healthy(free_port) == (1, f"beat: port {free_port} does not answer (Connection refused)")
    code, says = healthy(0)
    assert code == 1
    assert says.startswith("PROMETHEUS_PORT is not set")


def test_processes_as_one_are_all_asked_but_those_of_markets_without_symbols(free_port: int) -> None:
    code, says = healthy(free_port, "--together", KIS_SYMBOLS=" , ", YFINANCE_SYMBOLS="AAPL")
    asked = [line.partition(":")[0] for line in says.splitlines()]
    assert code == 1
    assert asked == ["worker-upbit", "worker-yfinance", "beat", "notifier", "api"]
    # one after the other, as `autotrader run` gives them
    assert f"worker-yfinance: port {free_port + 2} " in says


def test_a_page_has_to_answer_200(free_port: int) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/well" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", free_port), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{free_port}"
        assert healthy(0, f"{page}/well") == (0, "ok")
        assert healthy(0, f"{page}/ill") == (1, f"{page}/ill: port {free_port} answers 500")
        server.shutdown()
    assert healthy(0, "https://there")[0] == 1


def test_a_part_at_rest_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    part = pulse.Pulse("a part", 0.5, lambda name, _: ended.append(name))
    part.beat()
    part.rest()
    time.sleep(2.5)
    assert not ended
    assert part.silent() == 0
    part.beat()
    for _ in range(600):
        if ended:
            break
        time.sleep(0.05)
    assert ended == ["a part"]
    pulse.forget("a part")


def test_who_waits_for_somebody_else_goes_on() -> None:
    asked: list[float] = []
    ended: list[str] = []
    part = pulse.Pulse("a waiting part", 0.5, lambda name, _: ended.append(name), lambda: bool(asked.append(0) or True))
    part.beat()
    for _ in range(600):
        if asked:
            break
        time.sleep(0.05)
    assert asked
    assert not ended
    assert part.silent() > 0.5
    part.rest()
    pulse.forget("a waiting part")


def test_the_check_starts_in_a_fraction_of_what_the_command_line_takes() -> None:
    """It runs every few seconds in each container of a small machine."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", str(HEALTH), "nonsense"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"asyncio", "http.client", "urllib.request", "logging", "json", "ssl", "email"}
    assert len(imported) < 80
