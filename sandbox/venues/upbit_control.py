"""`/control/upbit/...`: sets the accounts of the Upbit stand-in up, shows them, and moves prices and fills."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from sandbox.venues.upbit_keys import KEY_ERRORS, Key
from sandbox.venues.upbit_matching import Account, Balance, balance_row
from sandbox.venues.upbit_prices import UpbitPrices

KEY_LIFE = timedelta(days=365)


class UpbitControl:
    """Answers the control requests over the exchange's keys and prices."""

    def __init__(self, keys: dict[str, Key], prices: UpbitPrices) -> None:
        self._keys = keys
        self._prices = prices

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.post(f"{prefix}/accounts", self._set_account),
            web.get(f"{prefix}/accounts", self._show_account),
            web.post(f"{prefix}/fills", self._fill),
            web.post(f"{prefix}/names", self._set_names),
            web.post(f"{prefix}/price", self._set_price),
            web.delete(f"{prefix}/price", self._give_price_back),
        ]

    async def _set_account(self, request: web.Request) -> web.Response:
        """Make a key, or change the one there is: only what is named changes, its orders and nonces stay."""
        try:
            body = await request.json()
            name, secret = str(body["access_key"]), body.get("secret_key")
            if name not in self._keys:
                account = Account(self._prices.sides, self._prices.now)
                self._keys[name] = Key(str(body["secret_key"]), account, self._prices.now() + KEY_LIFE)
            key = self._keys[name]
            key.secret = key.secret if secret is None else str(secret)
            if "balances" in body:
                key.account.set({currency: _balance(held) for currency, held in body["balances"].items()})
            if "expires_at" in body:
                key.expires_at = datetime.fromisoformat(body["expires_at"])
            key.refuse = str(body.get("refuse") or "")
            if key.refuse and key.refuse not in KEY_ERRORS:
                raise ValueError(key.refuse)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation):
            wanted = "access_key, secret_key, balances {currency: amount}, expires_at (ISO), refuse (an error of keys)"
            return _refusal(f"the body is not JSON with {wanted}")
        return web.json_response({"access_key": name}, status=201)

    async def _show_account(self, request: web.Request) -> web.Response:
        """Balances and all orders of a key with their trades, also those that reads do not find yet."""
        key = self._keys.get(request.query.get("access_key", ""))
        if key is None:
            return web.json_response({"error": "there is no such access_key"}, status=404)
        key.account.settle()
        orders = [order.row() | {"trades": order.trade_rows()} for order in key.account.orders.values()]
        balances = [balance_row(currency, held) for currency, held in key.account.balances.items()]
        return web.json_response({"balances": balances, "orders": orders})

    async def _fill(self, request: web.Request) -> web.Response:
        """Let an open limit order trade: `access_key`, `uuid` and `volume`."""
        try:
            body = await request.json()
            account, volume = self._keys[body["access_key"]].account, Decimal(body["volume"])
            order = account.orders[body["uuid"]]
            if order.state != "wait" or order.volume is None or not 0 < volume <= order.volume - order.executed:
                raise ValueError(volume)
        except (ValueError, TypeError, KeyError, InvalidOperation):
            return _refusal("name access_key, uuid of an open order, volume it has left")
        account.fill(order, volume)
        return web.json_response(order.row(), status=201)

    async def _set_names(self, request: web.Request) -> web.Response:
        """What markets are called from now on in Korean, by symbol; `{}` for their own names again."""
        try:
            names = {str(symbol): str(name) for symbol, name in (await request.json()).items()}
        except (ValueError, AttributeError):
            return _refusal("the body is no JSON of names by symbol")
        self._prices.names.clear()
        self._prices.names.update(names)
        return web.json_response({"named": sorted(names)}, status=201)

    async def _set_price(self, request: web.Request) -> web.Response:
        """Move the price of a market: `symbol` and `price` in KRW. Orders that it reaches trade at once."""
        try:
            body = await request.json()
            symbol, price = str(body["symbol"]), Decimal(str(body["price"]))
            if not self._prices.has(symbol) or not price.is_finite() or price <= 0:
                raise ValueError(symbol)
        except (ValueError, TypeError, KeyError, InvalidOperation):
            return _refusal("name symbol, a market there is, and price, a positive number of KRW")
        self._prices.set(symbol, price)
        self._settle()
        return web.json_response({"symbol": symbol, "price": f"{price:f}"}, status=201)

    async def _give_price_back(self, request: web.Request) -> web.Response:
        """Give the price of `symbol`, or of all, back to the recording or the simulation."""
        given_back = self._prices.give_back(request.query.get("symbol"))
        self._settle()
        return web.json_response({"given_back": given_back})

    def _settle(self) -> None:
        for key in self._keys.values():
            key.account.settle()


def _balance(given: Any) -> Balance:
    if not isinstance(given, Mapping):
        return Balance(Decimal(str(given)))
    return Balance(Decimal(str(given["balance"])), avg_buy_price=Decimal(str(given.get("avg_buy_price", "0"))))


def _refusal(message: str) -> web.Response:
    return web.json_response({"error": message}, status=400)
