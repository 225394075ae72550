"""`python -m settings.reference` writes `.env.example` and `docs/configuration.md` from the declared settings."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from settings import containers
from settings.checked import Settings
from settings.strategies import strategy_tables

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".env.example"
PAGE = ROOT / "docs" / "configuration.md"
WIDTH = 120

GROUPS = tuple(base for base in Settings.__bases__ if base is not Settings.__bases__[0])

EXAMPLE_HEAD = """\
# Copy to .env and fill in. Every line may be left out: the defaults are shown. The environment wins over this file.
# Written by `python -m settings.reference` from the package `settings`; docs/configuration.md has types and ranges.
"""

PAGE_HEAD = """\
# Configuration

Written by `python -m settings.reference` from the package `settings` and the classes of `trading`; a test fails when
this is stale.

Settings are read from the environment and from the file `.env` in the folder a process is started in; the environment
wins. [.env.example](../.env.example) has all of them at their defaults. Names may be written in any case. A process
reads them when it starts, so restart it after a change. A setting that is malformed or out of its range ends the
process with one line that names it and its cure, and exit code 1; `autotrader doctor` says the same and more.

**Read by**: `worker`, `beat`, `notifier`, `api` and `flower` are the processes, `commands` is the `autotrader` command
line. The bot runs in the notifier. 🔒 marks a secret: it is never logged, traced, told or shown.

"""

STRATEGY_HEAD = """\
## The strategy file

`STRATEGY_FILE` names a JSON file that replaces settings of the profile, for all symbols or for one. The narrower wins:
profile, then the environment (`MIN_CONFIDENCE`, and `ORDER_VALUE_KRW` or `ORDER_VALUE_USD` as `level_value`), then
`all`, then the symbol's own. `checks` may stand in `all` and in a symbol, and is joined name by name.

```json
{
  "all": {"levels": 3, "min_interval": "6h", "checks": {"buy_max_rsi": 75}},
  "account": {"daily_loss": "0.05"},
  "markets": {
    "upbit": {
      "KRW-BTC": {"level_value": 200000, "trailing": true, "take_profit_rate": null, "checks": {"buy_max_atr": "0.08"}},
      "KRW-ETH": {"enabled": false}
    },
    "kis": {"005930": {"level_quantity": 2, "stop_loss_rate": "0.04"}}
  }
}
```

Rates are fractions, `0.05` for five percent; durations are `90s`, `10m`, `4h` or `1d`; `null` means none. Workers read
the file when they start: a setting that is unknown or out of its range, or a symbol that is not enabled, ends them with
one line (`unknown setting levls: did you mean levels?`).

"""

FOREIGN = """\
## Read by others

| variable | read by | what |
|---|---|---|
"""
# what is read by libraries and other programs, so no field of ours declares it
FOREIGN_ROWS = (
    ("OTEL_EXPORTER_OTLP_HEADERS", "every process", "what OpenTelemetry's exporters send along; values are secrets"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "every process", "whose certificates they trust"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "every process", "how long they wait"),
    ("OTEL_BSP_SCHEDULE_DELAY", "every process", "milliseconds between two exports of spans"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "every process", "milliseconds between two exports of metrics"),
    ("FLOWER_*", "flower", "Flower's own options, see [deploy/flower](../deploy/flower/README.md)"),
    ("XDG_STATE_HOME", "every process", "where the spool of alerts and Flower's file are; `~/.local/state` without it"),
    ("TEST_REDIS_URL", "`make test`", "a Redis to test on, in place of an embedded one"),
    ("TEST_DATABASE_URL", "`make test`", "the same for PostgreSQL"),
)


def example() -> str:
    """The text of `.env.example`."""
    parts = [EXAMPLE_HEAD]
    for group in GROUPS:
        parts.append(f"# --- {_title(group)} ".ljust(WIDTH - 6, "-"))
        for name, field in _fields(group):
            parts += textwrap.wrap(field.description or "", WIDTH, initial_indent="# ", subsequent_indent="# ")
            if form := _extra(field)["form"]:
                parts.append(f"# form: {form}")
            value = _extra(field)["example"] or _text(field.default)
            parts.append(f"{'#' if _extra(field)['commented'] else ''}{name.upper()}={value}")
        parts.append("")
    return "\n".join([*parts, *_container_lines(), ""])


def _container_lines() -> list[str]:
    parts = [f"# --- {containers.TITLE} ".ljust(WIDTH - 6, "-"), f"# {containers.SAYS}"]
    for variable in containers.VARIABLES:
        parts += textwrap.wrap(variable.what, WIDTH, initial_indent="# ", subsequent_indent="# ")
        if variable.form:
            parts.append(f"# form: {variable.form}")
        parts.append(f"{'' if variable.required else '#'}{variable.name}={variable.default}")
    return parts


def _container_table() -> str:
    columns = "| variable | default | form | what |\n|---|---|---|---|\n"
    rows = "".join(f"| {' | '.join(_container_row(variable))} |\n" for variable in containers.VARIABLES)
    return f"## {containers.TITLE}\n\n{containers.SAYS}\n\n{columns}{rows}"


def page() -> str:
    """The text of `docs/configuration.md`."""
    groups = "\n".join(_table(group) for group in GROUPS)
    rows = "".join(f"| `{name}` | {by} | {what} |\n" for name, by, what in FOREIGN_ROWS)
    return f"{PAGE_HEAD}{groups}\n{_container_table()}\n{STRATEGY_HEAD}{strategy_tables()}\n{FOREIGN}{rows}"


def _container_row(variable: containers.Variable) -> tuple[str, ...]:
    return (
        f"`{variable.name}`{' 🔒' if variable.secret else ''}",
        f"`{variable.default}`" if variable.default else "empty",
        f"`{variable.form}`" if variable.form else "",
        variable.what,
    )


def _table(group: type[BaseModel]) -> str:
    columns = "| setting | type | default | range or form | read by | what |\n|---|---|---|---|---|---|\n"
    return f"## {_title(group)}\n\n{columns}" + "".join(
        f"| {' | '.join(_row(name, field))} |\n" for name, field in _fields(group)
    )


def _row(name: str, field: FieldInfo) -> tuple[str, ...]:
    secret = " 🔒" if field.annotation is SecretStr else ""
    default = _text(field.default)
    what = (field.description or "").replace("|", "\\|")
    return (
        f"`{name.upper()}`{secret}",
        _type(field.annotation),
        f"`{default}`" if default else "empty",
        _range(field),
        ", ".join(readers(field)),
        what,
    )


def readers(field: FieldInfo) -> list[str]:
    """The processes that read a setting."""
    found: list[str] = _extra(field)["by"]
    return found


def _title(group: type[BaseModel]) -> str:
    return (group.__doc__ or "").strip()


def _fields(group: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return list(group.model_fields.items())


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _text(value: object) -> str:
    """A default as `.env` would say it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type(annotation: object) -> str:
    if get_origin(annotation) is Literal:
        return "choice"
    if get_origin(annotation) is tuple:
        return "list, separated by commas"
    words = {str: "text", SecretStr: "text", bool: "`true` or `false`", int: "whole number"}
    return words.get(annotation, "number") if isinstance(annotation, type) else "text"


def _range(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    found = [f"{words} {limit:g}" for name, words in _BOUNDS.items() if (limit := _bound(field, name)) is not None]
    return " ".join(found) or (f"`{form}`" if (form := _extra(field)["form"]) else "")


_BOUNDS = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}


def _bound(field: FieldInfo, name: str) -> float | None:
    return next((getattr(limit, name) for limit in field.metadata if hasattr(limit, name)), None)


if __name__ == "__main__":
    ENVIRONMENT.write_text(example(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
