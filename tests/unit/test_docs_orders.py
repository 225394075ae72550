"""The contract on orders is held by tests, sentence by sentence; no setting, rule or task is missing in the docs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import pytest

from settings import Settings
from settings.containers import VARIABLES
from tasks import strategies
from trading.breaker import LossLimits, loss_limits
from trading.risk import LIMITS, Purpose
from trading.strategy import SymbolStrategy, convert, strategy

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CONTRACT = DOCS / "orders.md"
RISK = DOCS / "risk.md"
WITHOUT_TESTS = "Known limits"

SENTENCE = re.compile(r"(\d+)\. ")
REFERENCE = re.compile(r"`([^`\s]+\.py)::(\w+)`")


@dataclass(frozen=True)
class Sentence:
    """One numbered sentence of the contract, with all its lines."""

    number: int
    section: str
    text: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """The tests it names, as (file below tests/, function)."""
        return REFERENCE.findall(self.text)

    def __str__(self) -> str:
        return f"{self.section} {self.number}"


def sentences(text: str) -> Iterator[Sentence]:
    """The numbered sentences of all sections but the one that may lack tests."""
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        section, _, body = part.partition("\n")
        if section == WITHOUT_TESTS:
            continue
        for item in re.split(r"^(?=\d+\. )", body, flags=re.MULTILINE):
            if found := SENTENCE.match(item):
                yield Sentence(int(found[1]), section, item)


@lru_cache(maxsize=256)
def names_in(file: str) -> frozenset[str]:
    """The names of the tests in a file below tests/; none where there is no such file."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name.startswith("test_")
    )


def faults(text: str) -> list[str]:
    """What is wrong with a contract: a sentence without a test, one that is not there, a number out of turn."""
    found = []
    for place, sentence in enumerate(sentences(text), start=1):
        if sentence.number != place:
            found.append(f"{sentence}: its number should be {place}")
        if not sentence.tests:
            found.append(f"{sentence}: names no test")
        found += [
            f"{sentence}: no test {name} in {file}" for file, name in sentence.tests if name not in names_in(file)
        ]
    return found


def test_every_sentence_of_the_contract_names_tests_that_are_there() -> None:
    assert faults(CONTRACT.read_text(encoding="utf-8")) == []


def test_the_contract_covers_every_part_of_an_orders_life() -> None:
    sections = {sentence.section for sentence in sentences(CONTRACT.read_text(encoding="utf-8"))}
    assert sections >= {
        "Before sending",
        "Sending",
        "What is proven",
        "Looking",
        "Resting orders and cancelling",
        "Ladders",
        "Exits",
        "Fills and money",
        "Live switches",
        "Whose journal",
        "Lost messages",
        "Other people's orders",
        "Restarts",
        "KIS without client order ids",
        "US orders through KIS",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("## Sending\n\n1. It is sent once.\n", ["Sending 1: names no test"]),
        (
            "## Sending\n\n1. It is sent once. `unit/test_nowhere.py::test_it`\n",
            ["Sending 1: no test test_it in unit/test_nowhere.py"],
        ),
        (
            "## Sending\n\n1. It is sent once.\n   `unit/test_docs_orders.py::test_that_is_not_there`\n",
            ["Sending 1: no test test_that_is_not_there in unit/test_docs_orders.py"],
        ),
        (
            "## Sending\n\n2. It is\n   sent. `unit/test_docs_orders.py::test_every_setting_is_explained_once`\n",
            ["Sending 2: its number should be 1"],
        ),
        ("## Known limits\n\n1. Something else.\n", []),
    ],
)
def test_a_sentence_without_its_test_is_found(text: str, said: list[str]) -> None:
    assert faults(text) == said


@pytest.mark.parametrize("document", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_test_that_a_document_names_is_there(document: str) -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    there = {path.name for path in files} | {name for path in files for name in names_in(str(path))}
    named = set(re.findall(r"\btest_\w+(?:\.py)?", (DOCS / document).read_text(encoding="utf-8")))
    assert named - there == set()


def test_the_settings_of_a_strategy_are_listed_with_their_defaults() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    # name, type, then what the three profiles say; the middle one is the default
    listed = re.findall(r"^\| `(\w+)` \| [^|]+ \| `[^`]+` \| `([^`]+)` \| `[^`]+` \|", page, re.MULTILINE)
    given = {name: json.loads(text) if text in ("true", "false", "null") else text for name, text in listed}
    limits = {field.name: given.pop(field.name) for field in fields(LossLimits)}
    assert set(given) == {field.name for field in fields(SymbolStrategy)}
    assert SymbolStrategy(**convert(SymbolStrategy, given)) == strategy()
    assert LossLimits(**convert(LossLimits, limits)) == loss_limits()


def test_the_strategy_file_that_is_shown_is_one(tmp_path: Path) -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    [shown] = [block for block in blocks if set(json.loads(block)) <= set(strategies.SECTIONS)]
    file = tmp_path / "strategy.json"
    file.write_text(shown, encoding="utf-8")
    settings = Settings(_env_file=None, strategy_file=str(file))
    strategies.check(settings)
    assert not strategies.strategy_of(settings, "upbit", "KRW-ETH", "KRW").enabled


def test_the_gate_is_listed_in_its_order() -> None:
    rows = re.findall(r"^\| (\d+) \| .* \| (all|analysis|buy) \|", RISK.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = {frozenset(Purpose): "all", frozenset({Purpose.BUY, Purpose.SELL}): "analysis"}
    wanted = [(str(place), kinds.get(purposes, "buy")) for place, (_, purposes) in enumerate(LIMITS, start=1)]
    assert rows == wanted


def test_every_task_is_listed() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tasks").glob("*.py")]
    tasks = {name for source in sources for name in re.findall(r'name="(tasks\.\w+\.\w+)"', source)}
    listed = re.findall(
        r"^\| `(tasks\.\w+\.\w+)` \|", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert tasks
    assert sorted(listed) == sorted(tasks)


def test_every_setting_is_explained_once() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    named = [found[1] for line in lines if (found := re.match(r"#?([A-Z][A-Z0-9_]*)=", line))]
    containers = [variable.name for variable in VARIABLES]
    assert sorted(named) == sorted([*(name.upper() for name in Settings.model_fields), *containers])
