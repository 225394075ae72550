"""Reading the settings of a process, and telling what is wrong with them."""

from __future__ import annotations

import sys
from functools import lru_cache

from pydantic import ValidationError

from settings.checked import Settings


class SettingsError(Exception):
    """A setting is missing or malformed; the message has one line per fault, each with its name and cure."""


def load_settings(kind: type[Settings] = Settings) -> Settings:
    """Read and check the settings. Raises `SettingsError` with one line per fault."""
    try:
        return kind()
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in fault["loc"]).upper()
            text = fault["msg"].removeprefix("Value error, ")
            lines.append(f"setting {name}: {text}" if name else f"settings: {text}")
        raise SettingsError("\n".join(lines)) from None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process; a fault ends the process with one line each on stderr and exit code 1."""
    try:
        return load_settings()
    except SettingsError as error:
        sys.exit(
            "\n".join(f"autotrader: {line} (set it in .env or the environment)" for line in str(error).splitlines())
        )
