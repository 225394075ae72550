"""`ANALYST=llm` with a real worker: whatever a model does instead of advising is a HOLD, stored with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from nodes import LocalWorker
from test_llm import KEYS, SYMBOL, last, run
from world import World

from sandbox.client import SandboxControl

# what the model does, how often it is asked and with which outcome, and the rule that stands in the analysis
SPOILT = (
    ("not_json", ["invalid"], "llm_invalid", "not in the form"),
    ("wrong_type", ["invalid"], "llm_invalid", "not in the form"),
    ("empty", ["invalid"], "llm_invalid", "not in the form"),
    # what a model says that followed an instruction in its data
    ("obeyed", ["invalid"], "llm_invalid", "not in the form"),
    ("safety", ["safety"], "llm_safety", "safety"),
    ("max_tokens", ["truncated"], "llm_truncated", "cut off"),
    # a well-formed answer with the prices of another symbol
    ("elsewhere", ["ok"], "price_distance", ""),
)


@pytest.fixture
def settings_env(sandbox: SandboxControl) -> Mapping[str, str]:
    return {
        "ANALYST": "llm",
        "LLM_MODELS": "gemini-2.5-flash",
        "GOOGLE_API_KEYS": ",".join(KEYS),
        "GEMINI_BASE_URL": f"{sandbox.url}/gemini",
        "LLM_TIMEOUT_SECONDS": "3",
        "LLM_DEADLINE_SECONDS": "10",
        "NOTIFY_LANGUAGE": "en",
    }


@pytest.fixture(autouse=True)
def _plain(sandbox: SandboxControl) -> Iterator[None]:
    sandbox.delete("gemini/modes")
    yield
    sandbox.delete("gemini/modes")


def is_hold(world: World, outcomes: list[str], rule: str, says: str) -> None:
    """The last analysis is a HOLD by `rule`, and all that was asked for it is stored."""
    analysis = last(world)
    assert (analysis["decision"], analysis["rejected_by"]) == ("hold", rule)
    reasons = analysis["reasons"]
    assert says in str(reasons)
    of_run = f"SELECT outcome FROM llm_calls WHERE run_id = '{analysis['run_id']}' ORDER BY seq"
    assert [row["outcome"] for row in world.rows(of_run)] == outcomes


def test_an_answer_that_is_no_advice_is_a_hold_that_says_why(world: World, celery_worker: LocalWorker) -> None:
    for mode, outcomes, rule, says in SPOILT:
        # a form that is wrong is asked for once more
        world.sandbox.post("gemini/modes", {"mode": mode, "count": 2 if outcomes == ["invalid"] else 1})
        assert "outcome: hold" in run(world, "analyze", "upbit", SYMBOL), mode
        is_hold(world, outcomes, rule, says)
    assert world.rows("SELECT 1 FROM orders") == []


def test_a_model_that_does_not_answer_is_a_hold_that_says_why(world: World, celery_worker: LocalWorker) -> None:
    world.sandbox.post("faults", {"service": "gemini", "kind": "hang"})
    run(world, "analyze", "upbit", SYMBOL)
    is_hold(world, ["timeout"], "llm_timeout", "in time")
    world.sandbox.delete("faults")
    # with either key; then it is left alone for a while
    world.sandbox.post("faults", {"service": "gemini", "kind": "error", "status": 503})
    run(world, "analyze", "upbit", SYMBOL)
    is_hold(world, ["unavailable", "unavailable"], "llm_failed", "cannot be used")
    run(world, "analyze", "upbit", SYMBOL)
    is_hold(world, [], "llm_closed", "closed for a while")
