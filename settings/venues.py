from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from settings.declaring import EVERY, OPERATING, TRADING, WORKER, Process, setting, without_slash

NAMES: tuple[Process, ...] = ("worker", "api", "commands")


class VenueSettings(BaseModel):
    """Venues"""

    model_config = ConfigDict(defer_build=True)

    upbit_base_url: str = setting("https://api.upbit.com", "Upbit's address.", by=NAMES, form="http:// or https://")
    upbit_access_key: SecretStr = setting(
        SecretStr(""),
        "For live trading only: a key that may see the assets, see and make orders, and not withdraw.",
        by=TRADING,
    )
    upbit_secret_key: SecretStr = setting(SecretStr(""), "The secret of that key.", by=TRADING)
    kis_base_url: str = setting(
        "https://openapi.koreainvestment.com:9443",
        "KIS's address. That of mock trading is https://openapivts.koreainvestment.com:29443.",
        by=("worker", "commands"),
        form="http:// or https://",
    )
    kis_app_key: SecretStr = setting(
        SecretStr(""),
        "Korean stocks need the keys of KIS Developers, also for quotes.",
        by=TRADING,
    )
    kis_app_secret: SecretStr = setting(SecretStr(""), "The secret of that key.", by=TRADING)
    kis_environment: Literal["real", "mock"] = setting(
        "real",
        "Which of the two the keys, the account and the address of KIS are of.",
        by=EVERY,
    )
    kis_account: SecretStr = setting(
        SecretStr(""),
        "For live trading only: account number and product code.",
        by=EVERY,
        form="12345678-01",
    )
    us_orders: Literal["paper", "kis"] = setting(
        "paper",
        "Where US stocks are traded in live mode: on paper, or in the KIS account above.",
        by=TRADING,
    )
    us_second_source: bool = setting(
        True,
        "Take prices of US stocks from KIS where Yahoo's fail or are stale; only where KIS_APP_KEY is set.",
        by=WORKER,
    )
    yahoo_base_url: str = setting(
        "",
        "Where Yahoo's protocol is spoken. Empty = Yahoo itself.",
        by=("worker", "commands"),
        form="http:// or https://",
    )
    http_timeout_seconds: float = setting(
        10.0,
        "How long a venue may take to answer a request.",
        by=(*WORKER, *OPERATING),
        gt=0,
        le=30,
    )

    @field_validator("kis_account")
    @classmethod
    def _account_number(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not re.fullmatch(r"\d{8}-\d{2}", value.get_secret_value()):
            raise ValueError("must be an account number and its product code, for example 12345678-01")
        return value

    @field_validator("upbit_base_url", "kis_base_url", "yahoo_base_url")
    @classmethod
    def _venue_address(cls, value: str) -> str:
        return without_slash(value)
