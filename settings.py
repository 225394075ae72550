"""Every setting of the system, read from the environment and `.env`, checked before anything starts."""

from __future__ import annotations

import hashlib
import re
import sys
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from notifications.kinds import Verbosity, read_verbosity
from notifications.quiet_hours import QuietHours, read_quiet_hours

MARKETS = ("upbit", "kis", "yfinance")

Symbols = Annotated[tuple[str, ...], NoDecode]
Users = Annotated[tuple[int, ...], NoDecode]


class Settings(BaseSettings):
    """Settings by their environment names; see `.env.example` for what each is for."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    # where the state lives
    redis_url: str = "redis://127.0.0.1:6379/0"
    database_url: str = "postgresql+asyncpg://autotrader@127.0.0.1:5432/autotrader"
    celery_broker_url: str = ""
    celery_result_backend: str = ""

    # what is traded
    trading_mode: Literal["paper", "live"] = "paper"
    ignore_market_hours: bool = False
    upbit_symbols: Symbols = ("KRW-BTC", "KRW-ETH")
    kis_symbols: Symbols = ("005930", "000660")
    yfinance_symbols: Symbols = ("AAPL", "MSFT")
    upbit_sweep_minutes: int = Field(60, ge=0, le=1440)
    kis_sweep_minutes: int = Field(30, ge=0, le=1440)
    yfinance_sweep_minutes: int = Field(30, ge=0, le=1440)
    sweep_at_start: bool = True
    guard_seconds: int = Field(10, ge=1, le=600)
    resolve_seconds: int = Field(5, ge=1, le=600)

    # how much of it
    strategy_profile: str = "base"
    strategy_file: str = ""
    min_confidence: int = Field(55, ge=0, le=100)
    order_value_krw: Decimal = Field(Decimal(300_000), gt=0)
    order_value_usd: Decimal = Field(Decimal(1_000), gt=0)
    paper_cash_krw: Decimal = Field(Decimal(10_000_000), ge=0)
    paper_cash_usd: Decimal = Field(Decimal(10_000), ge=0)

    # venues
    upbit_base_url: str = "https://api.upbit.com"
    upbit_access_key: SecretStr = SecretStr("")
    upbit_secret_key: SecretStr = SecretStr("")
    kis_base_url: str = "https://openapi.koreainvestment.com:9443"
    kis_app_key: SecretStr = SecretStr("")
    kis_app_secret: SecretStr = SecretStr("")
    kis_environment: Literal["real", "mock"] = "real"
    kis_account: SecretStr = SecretStr("")
    us_orders: Literal["paper", "kis"] = "paper"
    us_second_source: bool = True
    yahoo_base_url: str = ""
    http_timeout_seconds: float = Field(10.0, gt=0, le=30)

    # the analyst
    analyst: Literal["rules", "llm"] = "rules"
    llm_models: Symbols = ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.0-flash")
    google_api_keys: SecretStr = SecretStr("")
    gemini_base_url: str = ""
    llm_timeout_seconds: float = Field(30.0, gt=0, le=300)
    llm_deadline_seconds: float = Field(60.0, gt=0, le=500)
    llm_budget_usd_per_day: Decimal = Field(Decimal(5), ge=0)

    # deadlines; the visibility timeout is a little over the longest of them
    analyze_deadline_seconds: float = Field(90.0, gt=0, le=600)
    sweep_deadline_seconds: float = Field(30.0, gt=0, le=600)
    visibility_timeout_seconds: int = Field(120, ge=5)
    worker_concurrency: int = Field(8, ge=1, le=64)

    # Telegram
    telegram_enabled: bool = True
    telegram_token: SecretStr = SecretStr("")
    telegram_chat_id: str = ""
    error_reporting_chat_id: str = ""
    telegram_allowed_users: Users = ()
    telegram_base_url: str = "https://api.telegram.org"
    error_duplicate_window: int = Field(300, ge=1)
    notify_language: Literal["ko", "en"] = "ko"
    notify_quiet_hours: str = ""
    notify_kinds: str = ""
    charts: bool = True

    # what happens when nobody is left to report
    alert_spool_dir: str = ""
    worker_silent_seconds: int = Field(120, ge=10)
    beat_silent_seconds: int = Field(60, ge=10)
    dead_man_ping_url: SecretStr = SecretStr("")
    watchdog_seconds: float = Field(60.0, ge=1)

    # the API
    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=0, le=65535)
    api_read_token: SecretStr = SecretStr("")
    api_operate_token: SecretStr = SecretStr("")
    api_requests_per_minute: int = Field(120, ge=1)

    # telemetry
    otel_service_name: str = "autotrader"
    otel_environment: str = "development"
    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_protocol: Literal["http/protobuf", "grpc"] = "http/protobuf"
    signoz_enabled: bool = True
    signoz_endpoint: str = ""
    signoz_insecure: bool = True
    signoz_url: str = ""
    signoz_api_key: SecretStr = SecretStr("")
    flower_url: str = ""
    flower_basic_auth: SecretStr = SecretStr("")
    prometheus_port: int = Field(0, ge=0, le=65535)
    prometheus_host: str = "127.0.0.1"
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("upbit_symbols", "kis_symbols", "yfinance_symbols", "llm_models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

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

    @field_validator("kis_account")
    @classmethod
    def _account(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not re.fullmatch(r"\d{8}-\d{2}", value.get_secret_value()):
            raise ValueError("must be an account number and its product code, for example 12345678-01")
        return value

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

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://, for example redis://127.0.0.1:6379/0")
        return value

    @field_validator("database_url")
    @classmethod
    def _asyncpg(cls, value: str) -> str:
        if not value.startswith("postgresql+asyncpg://"):
            raise ValueError("must start with postgresql+asyncpg://, for example postgresql+asyncpg://user@host/db")
        return value

    @field_validator(
        "upbit_base_url", "kis_base_url", "telegram_base_url", "yahoo_base_url", "gemini_base_url", mode="after"
    )
    @classmethod
    def _http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

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

    @property
    def google_keys(self) -> tuple[str, ...]:
        """The keys for Gemini, in turn; the setting has them separated by commas."""
        return tuple(key.strip() for key in self.google_api_keys.get_secret_value().split(",") if key.strip())

    @property
    def broker_url(self) -> str:
        return self.celery_broker_url or self.redis_url

    @property
    def result_backend(self) -> str:
        return self.celery_result_backend or self.redis_url

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

    @property
    def otlp_endpoint(self) -> str:
        """Where telemetry goes, or "" for nowhere: the standard variable first, then the seeds' SIGNOZ_ENDPOINT."""
        if not self.signoz_enabled:
            return ""
        if self.otel_exporter_otlp_endpoint:
            return self.otel_exporter_otlp_endpoint
        if not self.signoz_endpoint or "://" in self.signoz_endpoint:
            return self.signoz_endpoint
        return ("http://" if self.signoz_insecure else "https://") + self.signoz_endpoint

    def symbols(self, market: str) -> tuple[str, ...]:
        """The enabled symbols of a market. Raises `UnknownMarket`."""
        check_market(market)
        symbols: tuple[str, ...] = getattr(self, f"{market}_symbols")
        return symbols

    def sweep_minutes(self, market: str) -> int:
        """Minutes between two sweeps; 0 means the beat never fires one. Raises `UnknownMarket`."""
        check_market(market)
        minutes: int = getattr(self, f"{market}_sweep_minutes")
        return minutes

    def order_value(self, currency: str) -> Decimal:
        """How much one order is worth, in that currency."""
        return self.order_value_usd if currency == "USD" else self.order_value_krw

    def paper_cash(self, currency: str) -> Decimal:
        """What a new paper account holds, in that currency."""
        return self.paper_cash_usd if currency == "USD" else self.paper_cash_krw


class UnknownMarket(ValueError):
    """No such market; the message lists those there are."""


class SettingsError(Exception):
    """A setting is missing or malformed; the message has one line per fault, each with its name and cure."""


def check_market(market: str) -> None:
    """Raise `UnknownMarket` unless `market` is one of ours."""
    if market not in MARKETS:
        raise UnknownMarket(f"unknown market {market!r}: use one of {', '.join(MARKETS)}")


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
