"""`ANALYST=llm` with a real worker and the sandbox's Gemini: what is stored, what is told, keys and the budget."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
from nodes import LocalWorker
from world import World

from sandbox.client import SandboxControl

KEYS = ("acceptance-gemini-one", "acceptance-gemini-two")
SYMBOL = "KRW-ETH"


@pytest.fixture
def settings_env(sandbox: SandboxControl) -> Mapping[str, str]:
    return {
        "ANALYST": "llm",
        "LLM_MODELS": "gemini-2.5-flash",
        "GOOGLE_API_KEYS": ",".join(KEYS),
        "GEMINI_BASE_URL": f"{sandbox.url}/gemini",
        "LLM_TIMEOUT_SECONDS": "3",
        "LLM_DEADLINE_SECONDS": "10",
        "LLM_BUDGET_USD_PER_DAY": "0.003",
        "NOTIFY_LANGUAGE": "en",
    }


@pytest.fixture(autouse=True)
def _plain(sandbox: SandboxControl) -> Iterator[None]:
    sandbox.delete("gemini/modes")
    yield
    sandbox.delete("gemini/modes")


def run(world: World, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cli", *argv],
        env=world.env,
        cwd=world.directory,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def last(world: World) -> dict[str, object]:
    return world.rows("SELECT * FROM analyses ORDER BY created_at DESC LIMIT 1")[0]


def test_an_answer_is_stored_with_its_prompt_and_shown_and_passes_the_validator(
    world: World, celery_worker: LocalWorker
) -> None:
    said = run(world, "analyze", "upbit", SYMBOL)
    analysis = last(world)
    assert analysis["model"] == "gemini-2.5-flash"
    [call] = world.rows("SELECT * FROM llm_calls")
    assert (call["symbol"], call["outcome"], call["run_id"]) == (SYMBOL, "ok", analysis["run_id"])
    assert call["cost"] > 0
    assert call["trace_id"] == analysis["trace_id"]
    assert '"symbol":"KRW-ETH"' in call["prompt"]
    # the candles only rise, so the stand-in sells what is overbought, or the validator holds it
    assert analysis["decision"] in ("sell", "hold")
    assert f"gemini-2.5-flash: ok after {call['seconds']:.1f} s, {call['input_tokens']} tokens in" in said
    assert "DATA:" in said
    assert not any(key in text for key in KEYS for text in (said, str(call)))


def test_closed_keys_are_shown_and_can_be_opened(world: World, celery_worker: LocalWorker) -> None:
    world.sandbox.post("faults", {"service": "gemini", "kind": "throttle", "count": 2, "retry_after": 600})
    run(world, "analyze", "upbit", SYMBOL)
    assert last(world)["rejected_by"] == "llm_throttled"
    shown = run(world, "models")
    assert len(re.findall(r"gemini-2.5-flash with key [0-9a-f]{12}: throttled, 5\d\d s left", shown)) == 2
    assert "2 opened" in run(world, "models", "--clear")
    run(world, "analyze", "upbit", SYMBOL)
    assert last(world)["rejected_by"] not in ("llm_throttled", "llm_closed")


def test_a_spent_budget_asks_nobody(world: World, celery_worker: LocalWorker) -> None:
    for _ in range(8):
        run(world, "analyze", "upbit", SYMBOL)
        if last(world)["rejected_by"] == "llm_budget":
            break
    assert last(world)["rejected_by"] == "llm_budget"
    calls = world.rows("SELECT sum(cost) AS spent, count(*) AS n FROM llm_calls")[0]
    assert float(calls["spent"]) >= 0.003
    assert len(world.sandbox.get("gemini/asked")) == calls["n"]
