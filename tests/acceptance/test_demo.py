"""`autotrader demo`, as a stranger runs it: the whole system on this machine, and nothing left afterwards."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from nodes import ROOT
from world import wait_for

from sandbox.stack import ERROR_CHAT, Options, Stack

MARKETS = ("upbit", "kis", "yfinance")
KEYS = {"feed", "markets", "telegram_messages", "spans", "traces_complete", "metrics", "seconds"}
COUNTS = {"symbols", "analyses", "orders", "fills", "failed"}


def shared_candles() -> Path:
    directory = Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared")) / "data" / "candles"
    if not directory.is_dir():
        pytest.skip(f"recorded candles are not here: no ../{directory.parent.parent.name}/data/candles, set SHARED_DIR")
    return directory


def processes_with(mark: str) -> set[str]:
    """Command lines of the processes that have `mark` in their environment or arguments."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
                if mark.encode() in line + (entry / "environ").read_bytes():
                    found.add(line.replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return found


def demo(*arguments: str) -> dict[str, Any]:
    """Run it once and read its JSON; it must leave no process, temporary file or OS user behind."""
    users = Path("/etc/passwd").read_text()
    with tempfile.TemporaryDirectory() as own_tmp:
        # an unprivileged PostgreSQL has to get through it
        Path(own_tmp).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-m", "cli", "demo", "--once", "--json", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": own_tmp},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.strip().splitlines()) == 1
        assert processes_with(own_tmp) == set()
        assert list(Path(own_tmp).iterdir()) == []
    assert Path("/etc/passwd").read_text() == users
    result: dict[str, Any] = json.loads(done.stdout)
    assert set(result) == KEYS
    assert set(result["markets"]) == set(MARKETS)
    assert all(set(counts) == COUNTS for counts in result["markets"].values())
    return result


def total(result: dict[str, Any], name: str) -> int:
    return sum(counts[name] for counts in result["markets"].values())


def test_recorded_candles_are_analysed_in_every_market_under_complete_traces() -> None:
    candles = shared_candles()
    result = demo("--candles", str(candles))
    assert result["feed"] == "recorded"
    for market in MARKETS:
        recorded = {path.name for path in (candles / market).glob("*.1d.csv")}
        assert result["markets"][market]["symbols"] == len(recorded)
        assert result["markets"][market]["analyses"] == len(recorded)
        assert result["markets"][market]["failed"] == 0
    assert total(result, "orders") >= 1
    assert total(result, "fills") >= 1
    assert result["traces_complete"] == total(result, "analyses")
    # each analysis, each ladder, and each order of it that has traded; each run, and that the bot has started
    told = total(result, "analyses") + total(result, "orders") + len(MARKETS) + 1
    assert total(result, "analyses") + total(result, "fills") < result["telegram_messages"] <= told


def test_simulated_candles_and_a_venue_that_times_out_for_one_symbol() -> None:
    result = demo("--seed", "7", "--feed", "simulated", "--fail", "KRW-ETH")
    assert result["feed"] == "simulated"
    assert result["markets"]["upbit"]["failed"] == 1
    assert result["markets"]["upbit"]["analyses"] == result["markets"]["upbit"]["symbols"] - 1
    assert result["markets"]["kis"]["failed"] == result["markets"]["yfinance"]["failed"] == 0
    assert result["traces_complete"] == total(result, "analyses")


def test_with_a_model_the_failure_is_one_message_with_its_trace_and_flower_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`ANALYST=llm make demo`: the stand-in is asked about every symbol whose data came."""
    monkeypatch.setenv("ANALYST", "llm")
    with Stack(Options(seed=7, feed="simulated", fail=["KRW-ETH"], once=True), lambda _: None) as stack:

        def errors() -> list[str]:
            received = stack.control.get("telegram/messages")
            return [message["text"] for message in received if str(message["chat_id"]) == ERROR_CHAT]

        [message] = wait_for("the error message", errors, 60)
        failed = wait_for(
            "the failure in Flower", lambda: [task for task in tasks(stack) if task["state"] == "FAILURE"]
        )
        assert [task["args"] for task in failed if "KRW-ETH" in task["args"]]
        assert len(failed) == 1
        others = len(MARKETS) + len(all_symbols(stack)) - 1
        wait_for("the others' success", lambda: sum(task["state"] == "SUCCESS" for task in jobs(stack)) == others, 90)
        assert asked_about(stack) == sorted(symbol for symbol in all_symbols(stack) if symbol != "KRW-ETH")
        spans = wait_for(
            "the failed task's span",
            lambda: [
                span
                for span in stack.control.get("otlp/spans")
                if span["name"] == "run/tasks.analysis.analyze_and_trade" and span["status"] == "error"
            ],
        )
        assert len(spans) == 1
        assert "KRW-ETH" in message
        assert spans[0]["trace_id"] in message
        assert len(errors()) == 1
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{stack.flower_url}/api/tasks", timeout=10)
        workers = flower(stack, "/api/workers")
        assert {name.split("@")[0] for name in workers} >= set(MARKETS)
        request = urllib.request.Request(f"{stack.api_url}/api/tasks/{failed[0]['uuid']}")
        request.add_header("Authorization", f"Bearer {stack.api_token}")
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert json.load(reply)["state"] == "FAILURE"


def asked_about(stack: Stack) -> list[str]:
    """What the stand-in of a language model was asked about, each once."""
    prompts = [one["prompt"] for one in stack.control.get("gemini/asked")]
    return sorted(json.loads(prompt.partition("DATA:\n")[2])["instrument"]["symbol"] for prompt in prompts)


def all_symbols(stack: Stack) -> list[str]:
    return [symbol for symbols in stack.symbols.values() for symbol in symbols]


def flower(stack: Stack, path: str) -> Any:
    login = base64.b64encode(stack.flower_login.encode()).decode()
    request = urllib.request.Request(stack.flower_url + path, headers={"Authorization": f"Basic {login}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def jobs(stack: Stack) -> list[dict[str, Any]]:
    """The sweeps and analyses, without what looks at orders and positions every few seconds."""
    return [task for task in tasks(stack) if str(task["name"]).startswith("tasks.analysis.")]


def tasks(stack: Stack) -> list[dict[str, Any]]:
    return list(flower(stack, "/api/tasks").values())
