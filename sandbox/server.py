"""The sandbox's HTTP server: every service under its own prefix of one port, faults in front of them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from aiohttp import web

from sandbox.candles import MARKETS, CandleBook, load_recorded
from sandbox.control import Control, Received, RequestLog
from sandbox.faults import SERVICES, FaultBoard, carry_out
from sandbox.gemini import Gemini
from sandbox.limits import Limits
from sandbox.otlp import Collector
from sandbox.page import only_chats, overview
from sandbox.simulated import simulated_book
from sandbox.telegram import Telegram
from sandbox.venues.kis import Kis
from sandbox.venues.kis_account import KisAccounts
from sandbox.venues.upbit import Upbit
from sandbox.venues.yahoo import Yahoo

HOST = "127.0.0.1"
LARGEST_BODY = 64 * 1024 * 1024
MOST_COLUMNS = 6
# how long open requests (a long poll, a hang) may take to end at stop
STOP_SECONDS = 0.2

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Sandbox:
    """Upbit, KIS, Yahoo, Gemini, Telegram and an OTLP collector on one port, of 127.0.0.1 unless told otherwise.

    With `candles` it serves the recorded candles of that folder, else candles simulated from `seed`.
    `log` is a file that gets one JSON line per request; `telegram_token` is the only one accepted, if given.
    With `enforce_limits` Upbit and KIS refuse what exceeds their rate limits, with `telegram_pace` Telegram.
    Raises `CandleFault` for candles that cannot be served and `OSError` for a log that cannot be written.
    """

    def __init__(
        self,
        candles: Path | None = None,
        seed: int = 7,
        log: Path | None = None,
        telegram_token: str = "",
        enforce_limits: bool = False,
        telegram_pace: bool = False,
    ) -> None:
        self.book = CandleBook(load_recorded(candles), "recorded") if candles else simulated_book(seed)
        self.faults = FaultBoard()
        self.requests = RequestLog()
        self.telegram = Telegram(telegram_token, pace=telegram_pace)
        self.collector = Collector()
        self.limits = Limits() if enforce_limits else None
        self.url = ""
        self._control = Control(self.book, self.faults, self.requests, self.telegram, self.collector, self.limits)
        self.upbit = Upbit(self.book)
        kis = Kis(self.book)
        self._kis_accounts = KisAccounts(kis, self.book)
        self.gemini = Gemini()
        self._services: dict[str, Upbit | Kis | Yahoo | Gemini | Telegram | Collector] = {
            "upbit": self.upbit,
            "kis": kis,
            "yahoo": Yahoo(self.book),
            "gemini": self.gemini,
            "telegram": self.telegram,
            "otlp": self.collector,
        }
        self._closing = ExitStack()
        self._log: TextIO | None = None
        if log is not None:
            self._log = self._closing.enter_context(log.open("a", encoding="utf-8", buffering=1))
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0, host: str = HOST) -> str:
        """Listen on `port` (0: a free one) of `host` and return the URL. Raises `OSError` if the port is in use."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._gate])
        app.add_routes([web.get("/", self._page), web.get("/chats", self._chats), *self._control.routes("/control")])
        app.add_routes(self.upbit.exchange.control_routes("/control/upbit"))
        app.add_routes(self.gemini.control_routes("/control/gemini"))
        for name, service in self._services.items():
            app.add_routes(service.routes(f"/{name}"))
        app.add_routes(self._kis_accounts.routes("/kis", "/control/kis"))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self.stop()
            raise
        host, chosen = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{chosen}"
        return self.url

    async def stop(self) -> None:
        """Drop what is open and stop listening; what was received can still be read."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._closing.close()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Record every request to a service, and let a fault have it first."""
        name = request.path.split("/")[1]
        if name not in SERVICES:
            return await handler(request)
        service = self._services[name]
        path = request.path.removeprefix(f"/{name}") or "/"
        if isinstance(service, Telegram):
            subjects = await service.subjects(request)
            path = f"/bot***/{path.rpartition('/')[2]}"
        else:
            subjects = service.subjects(request)
        symbol = "" if name == "telegram" else ",".join(subjects)
        received = self.requests.add(name, request.method, path, symbol)
        refusal = self.limits.refusal(name, path, request) if self.limits else None
        if refusal is not None:
            refused = service.throttled(refusal.status, refusal.seconds)
            received.status = refused.status
            self._write(received)
            return refused
        fault = self.faults.take(name, path, subjects)
        try:
            response: web.StreamResponse | None
            if fault is None:
                response = await _answer(request, handler, path)
            else:
                response = await carry_out(fault, request, service, lambda: _answer(request, handler, path))
            received.status = 0 if response is None else response.status
        finally:
            self._write(received)
        # a dropped connection takes no answer, yet aiohttp wants one to discard
        return web.Response() if response is None else response

    def _write(self, received: Received) -> None:
        if self._log is not None and not self._log.closed:
            line = {
                "at": round(received.at, 3),
                "service": received.service,
                "method": received.method,
                "path": received.path,
                "symbol": received.symbol,
                "status": received.status,
            }
            self._log.write(json.dumps(line) + "\n")

    async def _page(self, _: web.Request) -> web.Response:
        symbols = {market: self.book.symbols(market) for market in MARKETS}
        received, chats = self._control.summary(), self.telegram
        return overview(SERVICES, self.book.source, symbols, received, chats.everything(), chats.titles)

    async def _chats(self, request: web.Request) -> web.Response:
        columns = request.query.get("columns", "")
        wanted = min(int(columns), MOST_COLUMNS) if columns.isdecimal() else 0
        only = request.query.get("chat", "")
        return only_chats(self.telegram.everything(), self.telegram.titles, wanted, only)


async def _answer(request: web.Request, handler: Handler, path: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        # what no service answers (no such path, a body too large) is answered in JSON, as all of them do
        message = f"the sandbox does not serve {request.method} {path}: {error.reason}"
        return web.json_response({"error": {"name": error.status, "message": message}}, status=error.status)
