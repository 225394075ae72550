"""The settings of the strategy file as tables of `docs/configuration.md`."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from typing import Any, get_args

from trading.breaker import LossLimits
from trading.declared import declarations, shortened
from trading.strategy import SymbolStrategy, profile_of
from trading.thresholds import Thresholds

PROFILES = ("conservative", "base", "aggressive")
KINDS: dict[object, str] = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    Decimal: "number",
    timedelta: "duration",
}


def strategy_tables() -> str:
    """A table for each place of the file in which settings stand."""
    parts = (
        ("In `all` and in a symbol", SymbolStrategy, "symbol"),
        ("In `account`: the circuit breaker of every account", LossLimits, "account"),
        (
            "In `checks`: where the [validator](risk.md#validator-tradingvalidatorpy) refuses an analysis",
            Thresholds,
            "",
        ),
    )
    return "\n".join(_table(*part) for part in parts)


def _table(title: str, kind: type[Any], section: str) -> str:
    names = PROFILES if section else ("default",)
    columns = f"| setting | type | {' | '.join(names)} | range | what |\n|---|---|{'---|' * len(names)}---|---|\n"
    return f"### {title}\n\n{columns}" + "".join(
        f"| {' | '.join(_row(kind, name, section))} |\n" for name in declarations(kind)
    )


def _row(kind: type[Any], name: str, section: str) -> tuple[str, ...]:
    annotation, declared = declarations(kind)[name]
    default = next(field.default for field in fields(kind) if field.name == name)
    values = [profile_of(profile)[section].get(name, default) for profile in PROFILES] if section else [default]
    own = next(part for part in (*get_args(annotation), annotation) if part is not type(None))
    or_none = " or `null`" if type(None) in get_args(annotation) else ""
    return (
        f"`{name}`",
        KINDS[own] + or_none,
        *(f"`{_text(value)}`" for value in values),
        declared.range,
        declared.what,
    )


def _text(value: object) -> str:
    """A value as the file would say it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return shortened(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
