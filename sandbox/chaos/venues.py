"""`python -m sandbox.chaos.venues`: Upbit and KIS on one port, with a fault for a chosen order of a chosen symbol.

The venues are the sandbox's own and enforce their limits. Between them and the workers stands a gate that loses, spoils
or refuses what passes; and the prices can be moved, which fills what rests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox.chaos import kis_orders, market
from sandbox.chaos.gate import Armed, Blocked, carry_out
from sandbox.chaos.plan import KIS, MARKETS, UPBIT, Fault
from sandbox.limits import Limits
from sandbox.venues.kis import Kis
from sandbox.venues.kis_account import KisAccounts
from sandbox.venues.upbit import Upbit

HOST = "127.0.0.1"
MATCH_SECONDS = 0.25
STOP_SECONDS = 0.2
READ_FAILURES = 3

_UPBIT_ORDER = ("POST", "/v1/orders")
_UPBIT_CANCEL = ("DELETE", "/v1/order")
_UPBIT_READ = ("GET", "/v1/order")
_KIS_TRADING = "/uapi/domestic-stock/v1/trading/"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is about: `place`, `cancel` or `read` of orders, or nothing of interest; and the symbol."""

    act: str
    symbol: str = ""


class Venues:
    """The venues with the gate in front and the control behind."""

    def __init__(self, symbols: int) -> None:
        self.book = market.MovingBook({name: market.symbols(name, symbols) for name in MARKETS})
        self._upbit = Upbit(self.book)
        self._kis = Kis(self.book)
        self._accounts = KisAccounts(self._kis, self.book)
        self._limits = Limits()
        self._armed: dict[tuple[str, str], Armed] = {}
        self._sent: Counter[tuple[str, str]] = Counter()
        self._blocked = Blocked()
        self._hidden: dict[str, float] = {}
        self._held_back = kis_orders.HeldBack()

    async def serve(self, port: int, stop: asyncio.Event) -> None:
        """Listen on `port` until `stop`; prints `{"url": ...}` once it does."""
        app = web.Application(middlewares=[self._gate])
        app.add_routes(self._upbit.routes("/upbit"))
        app.add_routes(self._upbit.exchange.control_routes("/control/upbit"))
        app.add_routes(self._kis.routes("/kis"))
        app.add_routes(self._accounts.routes("/kis", "/control/kis"))
        app.add_routes(
            [
                web.post("/control/faults", self._arm),
                web.post("/control/disarm", self._disarm),
                web.post("/control/turns", self._turn),
                web.post("/control/moves", self._move),
                web.get("/control/sent", self._show_sent),
                web.get("/control/limits", self._show_limits),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        host, chosen = runner.addresses[0][:2]
        sys.stdout.write(json.dumps({"url": f"http://{host}:{chosen}"}) + "\n")
        sys.stdout.flush()
        while not stop.is_set():
            # an order that was held back trades without anybody asking
            self._match()
            await asyncio.sleep(MATCH_SECONDS)
        await runner.cleanup()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.path.split("/")[1]
        if name not in MARKETS:
            return await handler(request)
        venue = self._upbit if name == UPBIT else self._kis
        path = request.path.removeprefix(f"/{name}")
        if name == UPBIT and (left := self._blocked.left()):
            return venue.throttled(418, left)
        refusal = self._limits.refusal(name, path, request)
        if refusal is not None:
            return venue.throttled(refusal.status, refusal.seconds)
        asked = await self._asked(name, path, request)
        if asked.act == "place":
            self._sent[name, asked.symbol] += 1
        armed = self._take(name, asked)
        if armed is None:
            response = await handler(request)
        else:
            response = await carry_out(armed, request, venue, handler, self._blocked)
        if name == KIS and isinstance(response, web.Response):
            self._after_kis(asked, armed, response)
        return response

    async def _asked(self, name: str, path: str, request: web.Request) -> Asked:
        here = (request.method, path)
        if name == UPBIT:
            if here == _UPBIT_ORDER:
                return Asked("place", str((await _body(request)).get("market", "")))
            return Asked({_UPBIT_CANCEL: "cancel", _UPBIT_READ: "read"}.get(here, ""))
        match path.removeprefix(_KIS_TRADING):
            case "order-cash":
                return Asked("place", str((await _body(request)).get("PDNO", "")))
            case "order-rvsecncl":
                return Asked("cancel")
            case "inquire-daily-ccld":
                return Asked("read")
        return Asked("")

    def _take(self, name: str, asked: Asked) -> Armed | None:
        """The armed fault that this request meets, or None."""
        if not asked.act:
            return None
        for key in ((name, asked.symbol), *((name, other) for at, other in list(self._armed) if at == name)):
            armed = self._armed.get(key)
            if armed is None or not armed.meets(asked.act, own=key[1] == asked.symbol):
                continue
            armed.passed += 1
            if armed.passed >= armed.nth:
                armed.hits += 1
                return armed
        return None

    def _after_kis(self, asked: Asked, armed: Armed | None, response: web.Response) -> None:
        """Hide from the list what is to appear late, and hold back from the book what is to rest."""
        now = time.monotonic()
        if asked.act == "read":
            kis_orders.hide(response, {odno for odno, until in self._hidden.items() if until > now})
        if armed is None or armed.odno is None:
            return
        if armed.fault is Fault.LATE:
            self._hidden[armed.odno] = now + armed.seconds
        if armed.fault is Fault.RESTING:
            self._held_back.until[armed.odno] = now + armed.seconds
        if armed.fault is Fault.PARTIAL:
            self._held_back.halved.add(armed.odno)

    def _match(self) -> None:
        for key in self._upbit.exchange.keys.values():
            key.account.settle()
        kis_orders.match(self._accounts, self.book, self._held_back)

    # control

    async def _arm(self, request: web.Request) -> web.Response:
        body = await request.json()
        fault = Fault(body["fault"])
        count = READ_FAILURES if fault is Fault.READS_FAIL else 1
        self._armed[body["market"], body["symbol"]] = Armed(fault, float(body["seconds"]), int(body["nth"]), count)
        return web.json_response({}, status=201)

    async def _disarm(self, request: web.Request) -> web.Response:
        body = await request.json()
        armed = self._armed.pop((body["market"], body["symbol"]), None)
        return web.json_response({"hits": 0 if armed is None else armed.hits})

    async def _turn(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.book.turn(body["market"], body["symbol"], rising=bool(body["rising"]))
        self._match()
        return web.json_response({})

    async def _move(self, request: web.Request) -> web.Response:
        body = await request.json()
        price = self.book.move(body["market"], body["symbol"], float(body["factor"]))
        self._match()
        return web.json_response({"price": f"{price:f}"})

    async def _show_sent(self, request: web.Request) -> web.Response:
        sent = self._sent[request.query["market"], request.query["symbol"]]
        return web.json_response({"sent": sent, "all": sum(self._sent.values())})

    async def _show_limits(self, _: web.Request) -> web.Response:
        return web.json_response(self._limits.summary())


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON of an order; aiohttp keeps it for the venue to read again."""
    try:
        body = json.loads(await request.read())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.chaos.venues", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--symbols", type=int, required=True, help="of each market")
    options = parser.parse_args(arguments)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await Venues(options.symbols).serve(options.port, stop)

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
