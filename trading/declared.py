"""How a setting of a strategy is declared and read: what it is for, its bounds, and how text becomes one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, get_args, get_type_hints

Bound: TypeAlias = Decimal | int | timedelta | None

# by class; reading the hints anew for each strategy would take longer than all the rest
_declared: dict[type, dict[str, tuple[Any, Setting]]] = {}

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class BadStrategy(ValueError):
    """A setting of a strategy is unknown or makes no sense: correct it, nothing is traded until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a field of a settings dataclass is for, and its bounds: `above` and `below` are refused themselves,
    `least` and `most` are not. `hint` is added to a refusal of what is too great."""

    what: str
    above: Bound = None
    least: Bound = None
    below: Bound = None
    most: Bound = None
    hint: str = ""

    def fault(self, value: Any) -> str:
        """What is wrong with a value, or ""."""
        if isinstance(value, (Decimal, float)) and not Decimal(value).is_finite():
            return "must be a finite number"
        number = _comparable(value)
        above, least, below, most = (
            None if bound is None else _comparable(bound) for bound in (self.above, self.least, self.below, self.most)
        )
        if least is not None and most is not None and not least <= number <= most:
            return f"must be {least} to {most}"
        if above is not None and number <= above:
            return f"must be above {_plain(above)}"
        if least is not None and number < least:
            return f"must be at least {least}" if least else "must not be negative"
        if below is not None and number >= below:
            return f"must be below {below}{self.hint}"
        if most is not None and number > most:
            return f"must be at most {most}{self.hint}"
        return ""

    @property
    def range(self) -> str:
        """Its bounds in words."""
        words = (("above", self.above), ("from", self.least), ("below", self.below), ("to", self.most))
        return " ".join(f"{word} {_plain(bound)}" for word, bound in words if bound is not None)


def check(settings: object) -> None:
    """Raise `BadStrategy` for the first field that is not within its declared bounds."""
    for name, (kind, declared) in declarations(type(settings)).items():
        value = getattr(settings, name)
        if isinstance(value, bool) or (value is None and type(None) in get_args(kind)):
            continue
        fault = declared.fault(value)
        if fault and type(None) in get_args(kind):
            fault = fault.replace("above 0", "above 0, or null for none")
        require(not fault, name, value, fault)


def declarations(settings: type) -> Mapping[str, tuple[Any, Setting]]:
    """Type and declaration of each field of a settings dataclass, in its order."""
    if settings not in _declared:
        hints = get_type_hints(settings, include_extras=True)
        _declared[settings] = {name: (get_args(hint)[0], get_args(hint)[1]) for name, hint in hints.items()}
    return _declared[settings]


def convert(settings: type, given: Mapping[str, object]) -> dict[str, Any]:
    """Values for the fields of a settings dataclass from text and plain numbers. Raises `BadStrategy`."""
    kinds = declarations(settings)
    values = {}
    for name, value in given.items():
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, n=1)
            hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(sorted(kinds))}"
            raise BadStrategy(f"unknown setting {name}: {hint}")
        values[name] = _value(name, value, kinds[name][0])
    return values


def duration(name: str, value: object) -> timedelta:
    """A duration from text such as 90s, 10m, 4h or 1d. Raises `BadStrategy` with `name`."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,6})([smhd])", str(value).strip())
    if match is None:
        raise BadStrategy(f"{name} is {value!r}: must be a duration such as 90s, 10m, 4h or 1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def shortened(lasts: timedelta) -> str:
    """A duration as a strategy says it: 90s, 10m, 4h or 1d."""
    seconds = int(lasts.total_seconds())
    units = ((86400, "d"), (3600, "h"), (60, "m"))
    return next((f"{seconds // size}{unit}" for size, unit in units if seconds and not seconds % size), f"{seconds}s")


def require(holds: bool, name: str, value: object, rule: str) -> None:
    """Raise `BadStrategy` with the setting, its value and the rule unless it holds."""
    if not holds:
        raise BadStrategy(f"{name} is {value}: {rule}")


def _value(name: str, value: object, kind: Any) -> object:
    if kind is bool:
        require(isinstance(value, bool), name, value, "must be true or false")
        return value
    if kind is int:
        number = _decimal(name, value)
        require(number == number.to_integral_value(), name, value, "must be a whole number")
        return int(number)
    if kind is float:
        return float(_decimal(name, value))
    if kind is timedelta:
        return duration(name, value)
    # what is left is Decimal and Decimal | None
    if value is None and kind is not Decimal:
        return None
    return _decimal(name, value)


def _decimal(name: str, value: object) -> Decimal:
    try:
        number = None if isinstance(value, bool) else Decimal(str(value).strip())
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise BadStrategy(f"{name} is {value!r}: must be a number")
    return number


def _comparable(value: Any) -> Any:
    return value if isinstance(value, timedelta) else Decimal(str(value))


def _plain(bound: object) -> str:
    return shortened(bound) if isinstance(bound, timedelta) else str(bound)
