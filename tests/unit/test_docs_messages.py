"""`docs/messages.md` names every kind of message, who tells it, and a test that holds it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from notifications.kinds import ALWAYS_TOLD, INFORMATIVE, KINDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "messages.md"


def rows() -> dict[str, list[str]]:
    """The cells of the table by kind."""
    table = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_kind_of_message_is_in_the_table_and_no_other() -> None:
    assert list(rows()) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_says_what_the_code_does(kind: str) -> None:
    what, chat, sound, off, waits, told_by, test = rows()[kind]
    assert what
    assert chat in ("trade", "error")
    assert (off == "no") is (kind in ALWAYS_TOLD)
    assert (waits == "yes") is (kind in INFORMATIVE)
    assert kind in ALWAYS_TOLD or "critical" not in sound
    file, _, function = told_by.strip("`").partition(": ")
    assert re.search(rf"\W{function}\(", (ROOT / file).read_text("utf-8")), told_by
    found = re.fullmatch(r"`([\w/]+\.py)::(\w+)`", test)
    assert found, test
    functions = {
        node.name
        for node in ast.walk(ast.parse((ROOT / found[1]).read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert found[2] in functions


def test_what_waits_can_be_switched_off_too() -> None:
    assert not INFORMATIVE & ALWAYS_TOLD
