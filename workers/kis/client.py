"""The quotation calls of KIS, one method each; every method is one HTTP request, two where the token had ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from typing import Any

from workers.calls import Call, start_counting
from workers.dated import load
from workers.errors import BadCredentials, BadReply
from workers.http import VenueHttp, get_json
from workers.kis.auth import SharedToken
from workers.kis.errors import KEY_CURE, TokenRefused, judge
from workers.kis.wire import AskingPrice, DailyRow, MinuteRow, Price, filled
from workers.wire import parse_list, parse_one

SERVICE = "kis"
OPERATIONS = ("token", "price", "asking_price", "daily_chart", "minute_chart")
# the Korea Exchange alone, without the alternative venue
KRX = "J"
DAILY_PAGE_ROWS = 100
MINUTE_PAGE_ROWS = 30


class KisClient:
    """`base_url` of the real or the mock environment. Raises the `VenueError`s of `workers.http` and `kis.errors`."""

    def __init__(self, session: VenueHttp, token: SharedToken, base_url: str, app_key: str, app_secret: str) -> None:
        self._session = session
        self._token = token
        self._base_url = base_url.rstrip("/")
        self._keys = {"appkey": app_key, "appsecret": app_secret}
        self._transactions = load("workers.kis", "transactions.json")["transactions"]
        start_counting(SERVICE, OPERATIONS)

    async def price(self, symbol: str) -> Price:
        """Last price in KRW and the tick size there."""
        call = Call(SERVICE, "price", symbol)
        return parse_one(Price, await self._get(call, {}, "output"), call)

    async def asking_price(self, symbol: str) -> AskingPrice:
        """Best ask and bid in KRW, 0 where there is none."""
        call = Call(SERVICE, "asking_price", symbol)
        return parse_one(AskingPrice, await self._get(call, {}, "output1"), call)

    async def daily_chart(self, symbol: str, first: date, last: date) -> list[DailyRow]:
        """The sessions from `first` to `last`, newest first, at most 100; prices adjusted for splits."""
        call = Call(SERVICE, "daily_chart", symbol)
        params = {
            "FID_INPUT_DATE_1": f"{first:%Y%m%d}",
            "FID_INPUT_DATE_2": f"{last:%Y%m%d}",
            "FID_PERIOD_DIV_CODE": "D",
            "FID_ORG_ADJ_PRC": "0",
        }
        return parse_list(DailyRow, filled(await self._get(call, params, "output2")), call)

    async def minute_chart(self, symbol: str, until: time) -> list[MinuteRow]:
        """The 30 minutes of today's session up to `until` (KST), newest first; empty before the session."""
        call = Call(SERVICE, "minute_chart", symbol)
        params = {"FID_ETC_CLS_CODE": "", "FID_INPUT_HOUR_1": f"{until:%H%M%S}", "FID_PW_DATA_INCU_YN": "N"}
        return parse_list(MinuteRow, filled(await self._get(call, params, "output2")), call)

    async def _get(self, call: Call, params: Mapping[str, str], part: str) -> Any:
        token = await self._token.token()
        try:
            return await self._get_with(token, call, params, part)
        except TokenRefused:
            # it can end early, when the owner revokes it: one new token, not more
            await self._token.drop(token)
        try:
            return await self._get_with(await self._token.token(), call, params, part)
        except TokenRefused:
            raise BadCredentials(f"{call}: a new access token was refused as well; {KEY_CURE}") from None

    async def _get_with(self, token: str, call: Call, params: Mapping[str, str], part: str) -> Any:
        transaction = self._transactions[call.operation]
        headers = {
            "authorization": f"Bearer {token}",
            **self._keys,
            "tr_id": transaction["tr_id"],
            "custtype": "P",
            "content-type": "application/json; charset=utf-8",
        }
        document = await get_json(
            self._session,
            call,
            f"{self._base_url}{transaction['path']}",
            judge=judge,
            params={"FID_COND_MRKT_DIV_CODE": KRX, "FID_INPUT_ISCD": call.symbol, **params},
            headers=headers,
        )
        if not isinstance(document, dict) or document.get(part) is None:
            raise BadReply(f"{call}: the reply has no {part}; it is tried again at the next tick")
        return document[part]
