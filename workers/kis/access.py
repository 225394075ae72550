"""One way into KIS for all that is asked of it: keys, token, environment and account from the settings."""

from __future__ import annotations

from typing import Protocol

from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from workers.errors import BadCredentials
from workers.http import VenueHttp
from workers.kis.auth import SharedToken
from workers.kis.broker import KisBroker
from workers.kis.environment import Environment
from workers.kis.floors import DayFloors
from workers.kis.known import journal_known
from workers.kis.overseas_broker import KisOverseasBroker
from workers.kis.overseas_calls import KisCalls
from workers.kis.overseas_client import KisOverseasClient
from workers.kis.overseas_known import journal_known_us
from workers.kis.overseas_trading import KisOverseasTrading
from workers.kis.trading import AccountNumber, KisTrading


class KisSettings(Protocol):
    """The settings of KIS. `kis_account` has the form 12345678-01 and is empty where only prices are asked for."""

    @property
    def kis_base_url(self) -> str: ...

    @property
    def kis_app_key(self) -> SecretStr: ...

    @property
    def kis_app_secret(self) -> SecretStr: ...

    @property
    def kis_environment(self) -> str: ...

    @property
    def kis_account(self) -> SecretStr: ...


class KisAccess:
    """What each client of KIS is made from. Raises `BadCredentials` without keys, and `WrongEnvironment` where
    KIS_BASE_URL is not of KIS_ENVIRONMENT."""

    def __init__(self, session: VenueHttp, redis: Redis, settings: KisSettings) -> None:
        self._session = session
        self._floors = DayFloors(redis)
        self._key = settings.kis_app_key.get_secret_value()
        self._secret = settings.kis_app_secret.get_secret_value()
        self._number = settings.kis_account.get_secret_value()
        self._environment = Environment(settings.kis_environment, settings.kis_base_url)
        self._token = SharedToken(session, redis, self._environment.base_url, self._key, self._secret)

    def trading(self) -> KisTrading:
        """The calls for Korean stocks. Raises `BadCredentials` without an account."""
        return KisTrading(self._session, self._token, self._environment, self._key, self._secret, self._account())

    def overseas_client(self) -> KisOverseasClient:
        """Quotations of US stocks, which need no account."""
        return KisOverseasClient(self._calls(None))

    def overseas_trading(self) -> KisOverseasTrading:
        """The calls for US stocks. Raises `BadCredentials` without an account."""
        return KisOverseasTrading(self._calls(self._account()))

    def broker(self, engine: AsyncEngine) -> KisBroker:
        """Korean stocks in the account, with the order journal of that database."""
        return KisBroker(self.trading(), journal_known(engine), floors=self._floors)

    def overseas_broker(self, engine: AsyncEngine) -> KisOverseasBroker:
        """US stocks in the account, with the order journal of that database."""
        return KisOverseasBroker(self.overseas_trading(), self.overseas_client(), journal_known_us(engine))

    def _account(self) -> AccountNumber:
        if not self._number:
            raise BadCredentials("kis: there is no account; set KIS_ACCOUNT, such as 12345678-01")
        return AccountNumber(*self._number.split("-"))

    def _calls(self, account: AccountNumber | None) -> KisCalls:
        fields = None if account is None else account.fields
        return KisCalls(self._session, self._token, self._environment, self._key, self._secret, fields)
