from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from notifications.kinds import Verbosity, read_verbosity
from notifications.quiet_hours import QuietHours, read_quiet_hours
from settings.declaring import EVERY, ListedNumbers, setting, without_slash


class TelegramSettings(BaseModel):
    """Telegram"""

    model_config = ConfigDict(defer_build=True)

    telegram_enabled: bool = setting(True, "Whether anything is told.", by=EVERY)
    telegram_token: SecretStr = setting(
        SecretStr(""),
        "The bot's token, from @BotFather (docs/telegram.md). Empty = nothing is sent.",
        by=("notifier", "commands"),
        form="123456789:AA…",
    )
    telegram_chat_id: str = setting(
        "",
        "The chat for trades and analyses; `autotrader telegram chats` shows its number.",
        by=("notifier", "commands"),
        form="-1001234567890",
    )
    error_reporting_chat_id: str = setting(
        "",
        "The chat for errors. Empty = the same.",
        by=("notifier", "commands"),
        form="-1001234567890",
    )
    telegram_allowed_users: ListedNumbers = setting(
        (),
        "Who may command the bot (docs/telegram-bot.md): numbers of Telegram users. Empty = nobody.",
        by=EVERY,
        form="123456789,987654321",
    )
    telegram_base_url: str = setting(
        "https://api.telegram.org",
        "The address of Telegram, or of a stand-in for it.",
        by=("notifier", "commands"),
        form="http:// or https://",
    )
    error_duplicate_window: int = setting(300, "Seconds in which equal errors are one message.", by=EVERY, ge=1)
    notify_language: Literal["ko", "en"] = setting(
        "ko",
        "The language of messages, and of what commands answer.",
        by=EVERY,
    )
    notify_quiet_hours: str = setting(
        "",
        "From when to when (KST) what is only good to know waits for one summary, and the rest comes without a sound "
        "unless it is critical. Empty = never.",
        by=("notifier",),
        form="23:00-07:00",
    )
    notify_kinds: str = setting(
        "",
        "How each kind of message comes, on, silent or off (docs/messages.md).",
        by=("notifier",),
        form="analysis_complete=silent,order_accepted=off",
    )
    charts: bool = setting(
        True,
        "A picture above each BUY or SELL (candles, ranges, our orders) and each report (what the accounts were "
        "worth).",
        by=("worker",),
    )

    @field_validator("telegram_allowed_users", mode="before")
    @classmethod
    def _users(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        ids = tuple(part.strip() for part in value.split(",") if part.strip())
        if not all(re.fullmatch(r"[1-9]\d{0,15}", part) for part in ids):
            raise ValueError(
                "must be the numbers of Telegram users, separated by commas, for example 123456789,987654321"
            )
        return tuple(map(int, ids))

    @field_validator("notify_quiet_hours")
    @classmethod
    def _quiet_hours(cls, value: str) -> str:
        read_quiet_hours(value)
        return value

    @field_validator("notify_kinds")
    @classmethod
    def _kinds(cls, value: str) -> str:
        read_verbosity(value)
        return value

    @field_validator("telegram_base_url")
    @classmethod
    def _telegram_address(cls, value: str) -> str:
        return without_slash(value)

    @property
    def error_chat_id(self) -> str:
        """Errors go to their own chat when it is set, else to the trade chat."""
        return self.error_reporting_chat_id or self.telegram_chat_id

    @property
    def quiet_hours(self) -> QuietHours | None:
        """The hours in which what is only good to know waits, or None."""
        return read_quiet_hours(self.notify_quiet_hours)

    @property
    def verbosity(self) -> Verbosity:
        """How each kind of message is told."""
        return read_verbosity(self.notify_kinds)


class SilenceSettings(BaseModel):
    """When nobody is left to report"""

    model_config = ConfigDict(defer_build=True)

    alert_spool_dir: str = setting(
        "",
        "Where alerts are kept while Redis is away. Empty = $XDG_STATE_HOME/autotrader/spool "
        "(~/.local/state/autotrader/spool).",
        by=EVERY,
        form="/var/lib/autotrader/spool",
    )
    worker_silent_seconds: int = setting(
        120,
        "The beat tells of a market's worker that was silent for so long.",
        by=("beat", "api", "commands"),
        ge=10,
    )
    beat_silent_seconds: int = setting(
        60,
        "The notifier tells of a beat that was silent for so long.",
        by=("notifier", "api", "commands"),
        ge=10,
    )
    dead_man_ping_url: SecretStr = setting(
        SecretStr(""),
        "Asked every minute by the notifier, so that a service outside (such as healthchecks.io) misses it. "
        "Empty = none.",
        by=("notifier",),
        form="http:// or https://",
    )
    watchdog_seconds: float = setting(
        60.0,
        "A worker, notifier or API whose event loop hangs for so long ends itself, and its supervisor starts it again; "
        "45 s more for a beat, and for the part of a worker that takes tasks, which wait for Redis.",
        by=("worker", "beat", "notifier", "api"),
        ge=1,
    )
