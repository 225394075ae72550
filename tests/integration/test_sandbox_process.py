"""`python -m sandbox` as a process: one line when it is ready, one line when it cannot be, a clean end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).parents[2]


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", *arguments,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _run(*arguments: str) -> tuple[int | None, str, str]:
    process = await _start(*arguments)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_its_url_serves_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "requests.jsonl"
    process = await _start("--port", "0", "--seed", "11", "--log", str(log))
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    url = json.loads(line)["url"]
    assert url.startswith("http://127.0.0.1:")
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{url}/upbit/v1/ticker?markets=KRW-BTC") as reply:
            assert reply.status == 200
        # an open long poll does not hold up the end
        poll = asyncio.create_task(http.get(f"{url}/telegram/bot1:T/getUpdates?timeout=30").__aenter__())
        await asyncio.sleep(0.2)
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), 5)
        with pytest.raises(aiohttp.ClientError):
            await poll
    assert (process.returncode, out, err) == (0, b"", b"")
    first = json.loads(log.read_text().splitlines()[0])
    assert (first["service"], first["path"], first["status"]) == ("upbit", "/v1/ticker", 200)
    assert "1:T" not in log.read_text()


async def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = await _run("--port", str(port))
    assert (code, out) == (1, "")
    assert err == (f"sandbox: port {port} on 127.0.0.1 is in use: choose another with --port, or 0 for a free one\n")


async def test_candles_that_cannot_be_served_are_one_clear_line(tmp_path: Path) -> None:
    code, out, err = await _run("--candles", str(tmp_path / "nowhere"))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "nowhere: no such folder" in err

    file = tmp_path / "kis" / "005930.1d.csv"
    file.parent.mkdir()
    rows = [f"2025-01-{day:02}T00:00:00Z,100,110,90,105,1" for day in range(1, 32)]
    rows[4] = "2025-01-05T00:00:00Z,100,110,90,NaN,1"
    file.write_text("\n".join(["time,open,high,low,close,volume", *rows]))
    code, out, err = await _run("--candles", str(tmp_path))
    assert (code, out) == (1, "")
    assert err == f"sandbox: {file}: row 6: close 'NaN' is no number: correct or remove the row\n"


async def test_a_log_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    code, _, err = await _run("--log", str(tmp_path))
    assert code == 1
    assert err.startswith(f"sandbox: {tmp_path}: cannot be written")
    assert err.count("\n") == 1
