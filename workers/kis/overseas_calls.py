"""How a call for US stocks is made: token, headers, one request; reads in pages, orders in one POST."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from workers.calls import Call
from workers.dated import load
from workers.errors import BadCredentials, BadReply, TimedOut, Unproven, Unreachable, VenueError
from workers.http import NotSent, VenueHttp, request_json
from workers.kis.auth import SharedToken
from workers.kis.environment import Environment, Transaction
from workers.kis.errors import KEY_CURE, DataMoved, TokenRefused, TurnedAway, judge_order, judge_trading
from workers.kis.overseas_wire import listed
from workers.kis.wire import KST
from workers.wire import Wire, parse_rows

# 1,500 orders at the 15 rows of a mock page; an answer that goes on longer is not believed
MOST_PAGES = 100
MOST_READINGS = 3
LAST_PAGE_CODES = frozenset({"KIOK0510", "KIOK0560"})

W = TypeVar("W", bound=Wire)


class KisCalls:
    """Requests of one key pair in one environment. `account` holds the fields that name the account, none for
    quotations."""

    def __init__(
        self,
        http: VenueHttp,
        token: SharedToken,
        environment: Environment,
        app_key: str,
        app_secret: str,
        account: Mapping[str, str] | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.environment = environment
        self._http = http
        self._token = token
        self._keys = {"appkey": app_key, "appsecret": app_secret}
        self._account = dict(account or {})
        self._clock = clock
        # quotations have the same ids in both environments
        self._quotations = load("workers.kis", "transactions.json")["transactions"]

    def today(self) -> date:
        """The date in Korea, by which KIS's tables are dated."""
        return self._clock().astimezone(KST).date()

    async def read(self, call: Call, params: Mapping[str, str], *, following: bool = False) -> dict[str, Any]:
        """GET once, twice where the token had ended. Raises the `VenueError`s of `workers.http` and `kis.errors`."""
        transaction = self._transaction(call.operation)
        token = await self._token.token()
        try:
            return await self._get(token, transaction, call, params, following)
        except TokenRefused:
            # it can end early, when the owner revokes it: one new token, not more
            await self._token.drop(token)
        try:
            return await self._get(await self._token.token(), transaction, call, params, following)
        except TokenRefused:
            raise BadCredentials(f"{call}: a new access token was refused as well; {KEY_CURE}") from None

    async def send(self, call: Call, operation: str, body: Mapping[str, str]) -> Any:
        """POST an order once and return its `output`.

        `Rejected`, `BadCredentials`, `NotSent` and `Throttled` (also as `TurnedAway`) prove that nothing was done;
        whatever else went wrong is `Unproven`.
        """
        transaction = self._transaction(operation)
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
                body={**self._account, **body},
                fail_closed=True,
            )
            return part_of(document, "output", call)
        except TurnedAway:
            await self._token.drop(token)
            raise
        except NotSent:
            raise
        except (TimedOut, Unreachable, BadReply) as error:
            raise Unproven(f"{call}: sent, and its fate is not known; look for the order ({error})") from None

    async def pages(
        self, call: Call, params: Mapping[str, str], part: str, model: type[W], name: str, key: Callable[[W], str]
    ) -> list[W]:
        """The rows of all pages, each once. `name` is the field that a blank row has blank.

        Raises `BadReply` rather than return a part.
        """
        for _ in range(MOST_READINGS):
            try:
                return await self._pages(call, params, part, model, name, key)
            except DataMoved:
                continue
        raise BadReply(f"{call}: the rows change under every reading; it is tried again at the next tick")

    async def _pages(
        self, call: Call, params: Mapping[str, str], part: str, model: type[W], name: str, key: Callable[[W], str]
    ) -> list[W]:
        rows: dict[str, W] = {}
        area = {"CTX_AREA_FK200": "", "CTX_AREA_NK200": ""}
        for page in range(MOST_PAGES):
            document = await self.read(call, {**params, **area}, following=page > 0)
            known = len(rows)
            found = parse_rows(model, {part: listed(document.get(part), name)}, part, call)
            try:
                rows.update((key(row), row) for row in found)
            except ValueError as error:
                raise BadReply(f"{call}: {error}; it is not what KIS documents") from None
            before, area = area, _next_area(document)
            if not found or not area["CTX_AREA_NK200"].strip() or document.get("msg_cd") in LAST_PAGE_CODES:
                return list(rows.values())
            if area == before or len(rows) == known:
                raise BadReply(f"{call}: page {page + 1} says that there is more, but brings nothing new")
        raise BadReply(f"{call}: more than {MOST_PAGES} pages; it cannot be read as a whole")

    async def _get(
        self, token: str, transaction: Transaction, call: Call, params: Mapping[str, str], following: bool
    ) -> dict[str, Any]:
        document = await request_json(
            self._http,
            call,
            "GET",
            f"{self.environment.base_url}{transaction.path}",
            judge=judge_trading,
            params={**self._account, **params},
            headers={**self._headers(token, transaction), "tr_cont": "N" if following else ""},
        )
        if not isinstance(document, dict) or str(document.get("rt_cd")) != "0":
            raise BadReply(f"{call}: the reply is not what KIS documents; it is tried again at the next tick")
        return document

    def _transaction(self, operation: str) -> Transaction:
        quotation = self._quotations.get(operation)
        if quotation is not None:
            return Transaction(quotation["path"], quotation["tr_id"], 0)
        return self.environment.transaction(operation, self.today())

    def _headers(self, token: str, transaction: Transaction) -> dict[str, str]:
        return {
            "authorization": f"Bearer {token}",
            **self._keys,
            "tr_id": transaction.tr_id,
            "custtype": "P",
            "content-type": "application/json; charset=utf-8",
        }


def part_of(document: Any, name: str, call: Call) -> Any:
    """The value at `name` of a reply. Raises `BadReply`."""
    if not isinstance(document, dict) or document.get(name) is None:
        raise BadReply(f"{call}: the reply has no {name}; it is not what KIS documents")
    return document[name]


def _next_area(document: Mapping[str, Any]) -> dict[str, str]:
    """Where the next page begins, to go back as it came; the key is blank after the last one."""
    return {name: str(document.get(name.lower()) or "") for name in ("CTX_AREA_FK200", "CTX_AREA_NK200")}
