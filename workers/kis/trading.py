"""The trading calls of KIS for Korean stocks. Reads may come in pages; an order is one POST, whatever it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from trading.types import Side
from workers.calls import Call, start_counting
from workers.errors import BadCredentials, BadReply, TimedOut, Unproven, Unreachable, VenueError
from workers.http import NotSent, VenueHttp, request_json
from workers.kis.auth import SharedToken
from workers.kis.environment import MOCK, Environment, Transaction
from workers.kis.errors import KEY_CURE, DataMoved, TokenRefused, TurnedAway, judge_order, judge_trading
from workers.kis.trading_wire import KRX, BalanceRow, BalanceSum, Buyable, CancellableRow, DayRow, Ordered, OrderRow
from workers.kis.wire import KST, filled
from workers.wire import Wire, each_once, parse_list, parse_one, parse_rows

SERVICE = "kis"
OPERATIONS = ("balance", "buyable", "order", "modify", "cancel", "daily_fills", "cancellable", "holidays")
# of all exchanges, also what was sent by hand to another one; mock trading knows the KRX alone
ALL = "ALL"
# a thousand orders a day at the 15 rows of a mock page; an answer that goes on longer is not believed
MOST_PAGES = 70
# rows that change under every reading are no answer either
MOST_READINGS = 3
LAST_PAGE_CODES = frozenset({"KIOK0510", "KIOK0560"})

W = TypeVar("W", bound=Wire)


@dataclass(frozen=True, slots=True)
class AccountNumber:
    """The first eight digits (CANO) and the last two (ACNT_PRDT_CD) of an account. Never in a message."""

    cano: str
    product: str = "01"

    def __post_init__(self) -> None:
        if not (len(self.cano) == 8 and self.cano.isdecimal() and len(self.product) == 2 and self.product.isdecimal()):
            raise BadCredentials("kis: an account number has eight digits and two, such as 12345678-01; correct it")

    def __repr__(self) -> str:
        return "AccountNumber(********-**)"

    @property
    def fields(self) -> dict[str, str]:
        return {"CANO": self.cano, "ACNT_PRDT_CD": self.product}


class KisTrading:
    """The account's calls in one environment.

    Reads raise the `VenueError`s of `workers.http` and `kis.errors`. Orders raise `Rejected`, `BadCredentials`,
    `NotSent`, `Throttled` (also as `TurnedAway`): provably no order; and `Unproven` for all else that went wrong.
    """

    def __init__(
        self,
        http: VenueHttp,
        token: SharedToken,
        environment: Environment,
        app_key: str,
        app_secret: str,
        account: AccountNumber,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.environment = environment
        self._http = http
        self._token = token
        self._keys = {"appkey": app_key, "appsecret": app_secret}
        self._account = account
        self._clock = clock
        start_counting(SERVICE, OPERATIONS)

    def today(self) -> date:
        """The date in Korea."""
        return self._clock().astimezone(KST).date()

    async def balance(self) -> tuple[list[BalanceRow], BalanceSum]:
        """All rows, also those sold off, and the sums of the account in KRW."""
        call = Call(SERVICE, "balance")
        params = {
            "AFHR_FLPR_YN": "N", "OFL_YN": "", "INQR_DVSN": "02", "UNPR_DVSN": "01", "FUND_STTL_ICLD_YN": "N",
            "FNCG_AMT_AUTO_RDPT_YN": "N", "PRCS_DVSN": "00",
        }  # fmt: skip
        rows, first = await self._pages(call, params, "output1", BalanceRow, lambda row: row.pdno)
        sums = first.get("output2")
        # documented as a list of one; an object is taken as well
        return rows, parse_one(BalanceSum, sums[0] if isinstance(sums, list) and sums else sums, call)

    async def buyable(self, symbol: str, price: Decimal, order_type: str) -> Buyable:
        """What can be bought at `price` without debt, for that ORD_DVSN."""
        call = Call(SERVICE, "buyable", symbol)
        params = {
            "PDNO": symbol, "ORD_UNPR": _digits(price), "ORD_DVSN": order_type, "CMA_EVLU_AMT_ICLD_YN": "N",
            "OVRS_ICLD_YN": "N",
        }  # fmt: skip
        return parse_one(Buyable, _part(await self._read(call, params), "output", call), call)

    async def order(self, side: Side, symbol: str, quantity: Decimal, price: Decimal, order_type: str) -> Ordered:
        """Send a limit order, once."""
        operation = "order_buy" if side is Side.BUY else "order_sell"
        body = {
            "PDNO": symbol, "ORD_DVSN": order_type, "ORD_QTY": _digits(quantity), "ORD_UNPR": _digits(price),
            "EXCG_ID_DVSN_CD": KRX, "SLL_TYPE": "01" if side is Side.SELL else "", "CNDT_PRIC": "",
        }  # fmt: skip
        return await self._send(Call(SERVICE, "order", symbol), operation, body)

    async def cancel(self, branch: str, odno: str, order_type: str, exchange: str = KRX) -> Ordered:
        """Send a cancellation of all that rests of an order, once; `branch` is its KRX_FWDG_ORD_ORGNO, `exchange`
        where it was sent."""
        zero = Decimal(0)
        return await self._revise("cancel", "02", branch, odno, order_type, zero, zero, exchange, everything=True)

    async def modify(self, branch: str, odno: str, order_type: str, quantity: Decimal, price: Decimal) -> Ordered:
        """Send a new price for `quantity` of an order, once; that part gets a new number."""
        return await self._revise("modify", "01", branch, odno, order_type, quantity, price, KRX, everything=False)

    async def daily_fills(
        self, first: date, last: date, *, side: Side | None = None, symbol: str = "", odno: str = ""
    ) -> list[OrderRow]:
        """The orders of those days (KST, at most three months back), filled or not, each with its state so far: of all
        exchanges, in mock trading of the KRX."""
        call = Call(SERVICE, "daily_fills", symbol)
        params = {
            "INQR_STRT_DT": f"{first:%Y%m%d}", "INQR_END_DT": f"{last:%Y%m%d}",
            "SLL_BUY_DVSN_CD": {None: "00", Side.SELL: "01", Side.BUY: "02"}[side],
            "INQR_DVSN": "01", "PDNO": symbol, "CCLD_DVSN": "00", "ORD_GNO_BRNO": "", "ODNO": odno,
            "INQR_DVSN_3": "00", "INQR_DVSN_1": "",
            "EXCG_ID_DVSN_CD": KRX if self.environment.name == MOCK else ALL,
        }  # fmt: skip
        rows, _ = await self._pages(call, params, "output1", OrderRow, _order_and_exchange)
        return rows

    async def cancellable(self) -> list[CancellableRow]:
        """The orders that rest. Raises `NotOffered` in mock trading."""
        params = {"INQR_DVSN_1": "0", "INQR_DVSN_2": "0"}
        call = Call(SERVICE, "cancellable")
        return (await self._pages(call, params, "output", CancellableRow, lambda row: row.odno))[0]

    async def holidays(self, first: date) -> list[DayRow]:
        """The days from `first` on, about a month of them; KIS asks for one call a day. Raises `NotOffered` in mock."""
        call = Call(SERVICE, "holidays")
        params = {"BASS_DT": f"{first:%Y%m%d}", "CTX_AREA_NK": "", "CTX_AREA_FK": ""}
        rows = parse_list(DayRow, filled(_part(await self._read(call, params), "output", call)), call)
        return each_once(rows, lambda row: f"{row.bass_dt}", call)

    async def _revise(
        self,
        name: str,
        kind: str,
        branch: str,
        odno: str,
        order_type: str,
        quantity: Decimal,
        price: Decimal,
        exchange: str,
        *,
        everything: bool,
    ) -> Ordered:
        body = {
            "KRX_FWDG_ORD_ORGNO": branch, "ORGN_ODNO": odno, "ORD_DVSN": order_type, "RVSE_CNCL_DVSN_CD": kind,
            "ORD_QTY": _digits(quantity), "ORD_UNPR": _digits(price), "QTY_ALL_ORD_YN": "Y" if everything else "N",
            "EXCG_ID_DVSN_CD": exchange,
        }  # fmt: skip
        return await self._send(Call(SERVICE, name), "modify_cancel", body)

    async def _send(self, call: Call, operation: str, body: Mapping[str, str]) -> Ordered:
        transaction = self.environment.transaction(operation, self.today())
        try:
            token = await self._token.token()
        except BadCredentials:
            raise
        except VenueError as error:
            raise TurnedAway(f"{call}: not sent, there is no access token: {error}") from None
        try:
            document = await request_json(
                self._http,
                call,
                "POST",
                f"{self.environment.base_url}{transaction.path}",
                judge=judge_order,
                headers=self._headers(token, transaction),
                body={**self._account.fields, **body},
                fail_closed=True,
            )
            return parse_one(Ordered, _part(document, "output", call), call)
        except TurnedAway:
            await self._token.drop(token)
            raise
        except NotSent:
            raise
        except (TimedOut, Unreachable, BadReply) as error:
            raise Unproven(f"{call}: sent, and its fate is not known; look for the order ({error})") from None

    async def _pages(
        self, call: Call, params: Mapping[str, str], part: str, model: type[W], key: Callable[[W], str]
    ) -> tuple[list[W], Mapping[str, Any]]:
        """The rows of all pages, each once, and the first page. Raises `BadReply` rather than return a part."""
        for _ in range(MOST_READINGS):
            try:
                return await self._read_pages(call, params, part, model, key)
            except DataMoved:
                continue
        raise BadReply(f"{call}: the rows change under every reading; it is tried again at the next tick")

    async def _read_pages(
        self, call: Call, params: Mapping[str, str], part: str, model: type[W], key: Callable[[W], str]
    ) -> tuple[list[W], Mapping[str, Any]]:
        rows: dict[str, W] = {}
        first: Mapping[str, Any] = {}
        area = {"CTX_AREA_FK100": "", "CTX_AREA_NK100": ""}
        for page in range(MOST_PAGES):
            document = await self._read(call, {**params, **area}, following=page > 0)
            first = first or document
            known = len(rows)
            found = parse_rows(model, {part: filled(document.get(part))}, part, call)
            rows.update((key(row), row) for row in each_once([*rows.values(), *found], key, call))
            before, area = area, _next_area(document)
            if not found or not area["CTX_AREA_NK100"].strip() or document.get("msg_cd") in LAST_PAGE_CODES:
                return list(rows.values()), first
            if area == before or len(rows) == known:
                raise BadReply(f"{call}: page {page + 1} says that there is more, but brings nothing new")
        raise BadReply(f"{call}: more than {MOST_PAGES} pages; it cannot be read as a whole")

    async def _read(self, call: Call, params: Mapping[str, str], *, following: bool = False) -> dict[str, Any]:
        transaction = self.environment.transaction(call.operation, self.today())
        token = await self._token.token()
        try:
            return await self._read_with(token, transaction, call, params, following)
        except TokenRefused:
            # it can end early, when the owner revokes it: one new token, not more
            await self._token.drop(token)
        try:
            return await self._read_with(await self._token.token(), transaction, call, params, following)
        except TokenRefused:
            raise BadCredentials(f"{call}: a new access token was refused as well; {KEY_CURE}") from None

    async def _read_with(
        self, token: str, transaction: Transaction, call: Call, params: Mapping[str, str], following: bool
    ) -> dict[str, Any]:
        account = {} if call.operation == "holidays" else self._account.fields
        document = await request_json(
            self._http,
            call,
            "GET",
            f"{self.environment.base_url}{transaction.path}",
            judge=judge_trading,
            params={**account, **params},
            headers={**self._headers(token, transaction), "tr_cont": "N" if following else ""},
        )
        if not isinstance(document, dict) or str(document.get("rt_cd")) != "0":
            raise BadReply(f"{call}: the reply is not what KIS documents; it is tried again at the next tick")
        return document

    def _headers(self, token: str, transaction: Transaction) -> dict[str, str]:
        return {
            "authorization": f"Bearer {token}",
            **self._keys,
            "tr_id": transaction.tr_id,
            "custtype": "P",
            "content-type": "application/json; charset=utf-8",
        }


def _next_area(document: Mapping[str, Any]) -> dict[str, str]:
    """Where the next page begins, to go back as it came; the key is blank after the last one."""
    return {name: str(document.get(name.lower()) or "") for name in ("CTX_AREA_FK100", "CTX_AREA_NK100")}


def _order_and_exchange(row: OrderRow) -> str:
    return f"{row.venue_order_id} {row.exchange}"


def _part(document: Any, name: str, call: Call) -> Any:
    if not isinstance(document, dict) or document.get(name) is None:
        raise BadReply(f"{call}: the reply has no {name}; it is not what KIS documents")
    return document[name]


def _digits(value: Decimal) -> str:
    """A whole number of shares or KRW as text. Raises `ValueError`."""
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        raise ValueError(f"{value} is not a whole number")
    return f"{value:.0f}"
