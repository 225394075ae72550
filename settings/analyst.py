from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from settings.declaring import TRADING, WORKER, Listed, setting, split, without_slash


class AnalystSettings(BaseModel):
    """The analyst"""

    model_config = ConfigDict(defer_build=True)

    analyst: Literal["rules", "llm"] = setting(
        "rules",
        "rules: indicators vote. llm: a language model reads them; what it says is checked before anything is done "
        "with it.",
        by=WORKER,
    )
    llm_models: Listed = setting(
        ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.0-flash"),
        "Asked in this order until one answers: MODEL or google:MODEL, PROVIDER:MODEL for others that pydantic-ai "
        "knows.",
        by=TRADING,
    )
    google_api_keys: SecretStr = setting(
        SecretStr(""),
        "Keys of Google AI Studio, separated by commas; they are used in turn.",
        by=TRADING,
    )
    gemini_base_url: str = setting(
        "",
        "Where Gemini's protocol is spoken. Empty = Google itself.",
        by=WORKER,
        form="http:// or https://",
    )
    llm_timeout_seconds: float = setting(30.0, "How long one answer may take.", by=WORKER, gt=0, le=300)
    llm_deadline_seconds: float = setting(
        60.0,
        "How long all attempts for one analysis may take; less than ANALYZE_DEADLINE_SECONDS.",
        by=WORKER,
        gt=0,
        le=500,
    )
    llm_budget_usd_per_day: Decimal = setting(
        Decimal(5),
        "What models may cost per day in Korea, by list prices; then every analysis is a HOLD until the next day. "
        "0 = no limit.",
        by=WORKER,
        ge=0,
    )

    @field_validator("llm_models", mode="before")
    @classmethod
    def _split_models(cls, value: object) -> object:
        return split(value)

    @field_validator("gemini_base_url")
    @classmethod
    def _model_address(cls, value: str) -> str:
        return without_slash(value)

    @property
    def google_keys(self) -> tuple[str, ...]:
        """The keys for Gemini, in turn; the setting has them separated by commas."""
        return tuple(key.strip() for key in self.google_api_keys.get_secret_value().split(",") if key.strip())


class DeadlineSettings(BaseModel):
    """Time"""

    model_config = ConfigDict(defer_build=True)

    analyze_deadline_seconds: float = setting(
        90.0,
        "An analysis with its orders that takes longer is ended and told.",
        by=WORKER,
        gt=0,
        le=600,
    )
    sweep_deadline_seconds: float = setting(
        30.0,
        "The same for every other task: sweeps, looks at orders and positions, reports.",
        by=WORKER,
        gt=0,
        le=600,
    )
    visibility_timeout_seconds: int = setting(
        120,
        "A killed worker's tasks are delivered again after this. Greater than every deadline, equal in every process.",
        by=("worker", "beat", "notifier", "api", "flower", "commands"),
        ge=5,
    )
    worker_concurrency: int = setting(8, "How many tasks a worker does at once.", by=WORKER, ge=1, le=64)
