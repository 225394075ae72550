"""The catalogue is what the code emits, and the page is what the catalogue says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry import instruments
from telemetry.catalogue import PROCESSES, emitted_by
from telemetry.document import PATH, document
from telemetry.instruments import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "beat", "bot", "notifications", "storage", "tasks", "telemetry", "workers")
EMITS = {"add", "record", "set", "observe"}


def declared() -> dict[str, str]:
    """The catalogue's names by the variables they are declared as."""
    found = {}
    for node in ast.parse(Path(instruments.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args:
            [target], name = node.targets, node.value.args[0]
            if isinstance(target, ast.Name) and isinstance(name, ast.Constant) and name.value in CATALOGUE:
                found[target.id] = name.value
    return found


def emitted_in(path: Path) -> Iterator[str]:
    """The variables on which a module calls something that emits, also where it goes through several in a loop."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in EMITS:
            yield name_of(node.func.value)
        elif isinstance(node, ast.For | ast.comprehension):
            looped = {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
            body = node.body if isinstance(node, ast.For) else []
            if looped & {emitted for part in body for emitted in calls(part)}:
                yield from (name_of(part) for part in ast.walk(node.iter) if isinstance(part, ast.Name | ast.Attribute))


def calls(node: ast.AST) -> set[str]:
    return {
        name_of(part.func.value)
        for part in ast.walk(node)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in EMITS
    }


def name_of(node: ast.AST) -> str:
    """`x` of `x` and of `instruments.x`."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def test_every_instrument_is_emitted_somewhere() -> None:
    names = declared()
    assert set(names.values()) == set(CATALOGUE)
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name != "instruments.py"]
    emitted = {names[variable] for path in modules for variable in emitted_in(path) if variable in names}
    assert sorted(set(CATALOGUE) - emitted) == []


def test_the_page_is_what_the_catalogue_says() -> None:
    assert PATH.read_text(encoding="utf-8") == document(), "write it anew: python -m telemetry.document"


@pytest.mark.parametrize("prefix", [prefix for prefix in PROCESSES if prefix])
def test_what_is_said_of_processes_is_said_of_instruments(prefix: str) -> None:
    assert [entry for entry in CATALOGUE.values() if entry.name.startswith(prefix)]


def test_every_instrument_comes_from_a_process() -> None:
    assert all(emitted_by(entry) for entry in CATALOGUE.values())
