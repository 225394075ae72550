"""All settings together, and what must hold between those of different groups."""

from __future__ import annotations

import hashlib

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from settings.analyst import AnalystSettings, DeadlineSettings
from settings.backups import BackupSettings
from settings.interfaces import ApiSettings, TelemetrySettings
from settings.markets import MARKETS, check_market
from settings.state import StateSettings
from settings.telegram import SilenceSettings, TelegramSettings
from settings.trading import AmountSettings, TradingSettings
from settings.venues import VenueSettings


class Settings(
    BaseSettings,
    StateSettings,
    TradingSettings,
    AmountSettings,
    VenueSettings,
    AnalystSettings,
    DeadlineSettings,
    TelegramSettings,
    SilenceSettings,
    BackupSettings,
    ApiSettings,
    TelemetrySettings,
):
    """Settings by their environment names; `docs/configuration.md` has what each is for."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, defer_build=False
    )

    @model_validator(mode="after")
    def _together(self) -> Settings:
        longest = max(self.analyze_deadline_seconds, self.sweep_deadline_seconds)
        if self.visibility_timeout_seconds <= longest:
            raise ValueError(
                f"VISIBILITY_TIMEOUT_SECONDS ({self.visibility_timeout_seconds}) must be greater than the longest "
                f"deadline ({longest:g} s), or running tasks would be delivered twice"
            )
        if bool(self.upbit_access_key.get_secret_value()) != bool(self.upbit_secret_key.get_secret_value()):
            raise ValueError("UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY go together; set both or neither")
        if self.analyst == "llm":
            self._check_llm()
        if self.trading_mode == "live":
            self._check_live()
        if self.telegram_enabled and self.telegram_token.get_secret_value() and not self.telegram_chat_id:
            raise ValueError("TELEGRAM_CHAT_ID is missing; set it, or set TELEGRAM_ENABLED=false")
        return self

    def _check_llm(self) -> None:
        if not self.llm_models:
            raise ValueError("ANALYST=llm needs LLM_MODELS, for example gemini-2.5-flash")
        needs_key = any(":" not in name or name.startswith("google:") for name in self.llm_models)
        if needs_key and not self.google_keys:
            raise ValueError("ANALYST=llm needs GOOGLE_API_KEYS (comma-separated) for Gemini, or ANALYST=rules")
        if self.llm_deadline_seconds >= self.analyze_deadline_seconds:
            raise ValueError(
                f"LLM_DEADLINE_SECONDS ({self.llm_deadline_seconds:g}) must be less than ANALYZE_DEADLINE_SECONDS "
                f"({self.analyze_deadline_seconds:g}), or an analysis would end before its models do"
            )

    def _check_live(self) -> None:
        if self.ignore_market_hours:
            raise ValueError("IGNORE_MARKET_HOURS is for paper trading only; set it to false for TRADING_MODE=live")
        if self.kis_account.get_secret_value() and not self.live("kis"):
            raise ValueError("KIS_ACCOUNT needs KIS_APP_KEY and KIS_APP_SECRET; set them, or leave KIS_ACCOUNT empty")
        if self.us_orders == "kis" and not self.live("kis"):
            raise ValueError("US_ORDERS=kis needs KIS_ACCOUNT; set it, or US_ORDERS=paper")
        if not any(self.live(market) for market in MARKETS):
            raise ValueError(
                "TRADING_MODE=live needs an account: set UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY, or KIS_ACCOUNT with "
                "KIS_APP_KEY and KIS_APP_SECRET, or TRADING_MODE=paper"
            )

    def live(self, market: str) -> bool:
        """Whether the market's orders go to a real account, once it is armed. Raises `UnknownMarket`."""
        check_market(market)
        if self.trading_mode != "live":
            return False
        if market == "upbit":
            return bool(self.upbit_access_key.get_secret_value())
        parts = (self.kis_account, self.kis_app_key, self.kis_app_secret)
        has_kis = all(part.get_secret_value() for part in parts)
        return has_kis if market == "kis" else has_kis and self.us_orders == "kis"

    def account(self, market: str) -> str:
        """Which account the market's orders go to, by a name that gives away neither number nor key."""
        if not self.live(market):
            return "paper"
        secret = self.upbit_access_key if market == "upbit" else self.kis_account
        environment = "" if market == "upbit" else f"{self.kis_environment}:"
        return f"live:{environment}{hashlib.sha256(secret.get_secret_value().encode()).hexdigest()[:12]}"
