"""The settings and the connection that setting up the bot needs: the token alone, before anything else is right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
from pydantic import model_validator

from doctor.findings import PATIENCE, Finding
from doctor.telegram_chats import CannotListen, listen
from doctor.telegram_check import check
from settings import Settings, load_settings
from telemetry.redaction import redact, secret_values

__all__ = ["CannotListen", "chats", "telegram_settings", "try_chats"]

# time enough for a message on a slow line
_TIMEOUT = aiohttp.ClientTimeout(total=3 * PATIENCE, sock_connect=PATIENCE)


class TelegramSettings(Settings):
    """The settings one by one: what they need of each other is not asked, so that a chat can be found before it is
    set."""

    @model_validator(mode="after")
    def _together(self) -> TelegramSettings:
        return self


def telegram_settings() -> Settings:
    """The settings as far as they are there. Raises `SettingsError`."""
    return load_settings(TelegramSettings)


async def try_chats(settings: Settings) -> AsyncIterator[Finding]:
    """Write to both chats; each finding as soon as it is there, without a secret."""
    known = secret_values(settings)
    async with _session() as session:
        async for finding in check(settings, session):
            yield replace(finding, detail=redact(finding.detail, known))


async def chats(settings: Settings, seconds: float) -> AsyncIterator[str]:
    """Say line by line who writes to the bot. Raises `CannotListen`."""
    async with _session() as session:
        async for line in listen(settings, session, seconds):
            yield line


def _session() -> aiohttp.ClientSession:
    # the environment's proxy, as the notifier takes it
    return aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=True)
