"""Data that changes with the calendar: JSON files of dated rows beside the code of the venue they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from importlib import resources
from typing import Any


def load(package: str, name: str) -> dict[str, Any]:
    """The JSON file `name` of a package, with its numbers as they are written (the files keep amounts as text)."""
    document: dict[str, Any] = json.loads(resources.files(package).joinpath(name).read_text(encoding="utf-8"))
    return document


def in_force(rows: Sequence[Mapping[str, Any]], on: date) -> Mapping[str, Any]:
    """The row with the latest `effective` date not after `on`; before all of them the first one."""
    dated = sorted(rows, key=lambda row: str(row["effective"]))
    started = [row for row in dated if date.fromisoformat(str(row["effective"])) <= on]
    return started[-1] if started else dated[0]
