"""The list of commands that a chat shows when somebody types "/"."""

from __future__ import annotations

import json
import re
from typing import Any

from sandbox.telegram import fields as parameters
from sandbox.telegram.errors import bad
from sandbox.telegram.fields import Fields

MOST_COMMANDS = 100
MOST_DESCRIPTION = 256
_NAME = re.compile(r"[a-z0-9_]{1,32}")

Listed = list[dict[str, str]]


class Commands:
    """By scope and language, as they were set."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Listed] = {}

    def set(self, fields: Fields) -> bool:
        """A `setMyCommands`. Raises `ApiError`."""
        commands = parameters.structure(fields, "commands")
        if not isinstance(commands, list):
            raise bad("can't parse commands: expected an Array of BotCommand")
        if len(commands) > MOST_COMMANDS:
            raise bad("BOT_COMMANDS_TOO_MUCH")
        kept = [_checked(command) for command in commands]
        if kept:
            self._kept[_where(fields)] = kept
        else:
            self._kept.pop(_where(fields), None)
        return True

    def get(self, fields: Fields) -> Listed:
        """A `getMyCommands`. Raises `ApiError`."""
        return self._kept.get(_where(fields), [])

    def delete(self, fields: Fields) -> bool:
        """A `deleteMyCommands`. Raises `ApiError`."""
        self._kept.pop(_where(fields), None)
        return True

    def listed(self) -> list[dict[str, Any]]:
        """Everything that is set."""
        return [
            {"scope": json.loads(scope), "language_code": language, "commands": commands}
            for (scope, language), commands in self._kept.items()
        ]


def _where(fields: Fields) -> tuple[str, str]:
    scope = parameters.structure(fields, "scope") or {"type": "default"}
    if not isinstance(scope, dict) or not isinstance(scope.get("type"), str):
        raise bad("can't parse BotCommandScope: expected an Object")
    return json.dumps(scope, sort_keys=True), str(fields.get("language_code") or "")


def _checked(command: Any) -> dict[str, str]:
    if not isinstance(command, dict):
        raise bad("can't parse BotCommand: expected an Object")
    name, description = str(command.get("command") or "").removeprefix("/"), str(command.get("description") or "")
    if not _NAME.fullmatch(name):
        raise bad("BOT_COMMAND_INVALID")
    if not 1 <= len(description.strip()) <= MOST_DESCRIPTION:
        raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
    return {"command": name, "description": description}
