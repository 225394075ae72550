"""The sandbox's own API: order faults, read what was received, clear it. Tests, the demo and its board use it."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from sandbox.candles import MARKETS, CandleBook
from sandbox.faults import FaultBoard, FaultSpecError
from sandbox.limits import Limits
from sandbox.otlp import Collector
from sandbox.telegram import Telegram
from sandbox.telegram.control import TelegramControl

KEPT_REQUESTS = 50_000


@dataclass(slots=True)
class Received:
    """One request to a service. `status` is None while it runs and 0 if the connection was dropped unanswered;
    `at` is its receipt in Unix seconds. A bot token in the path is masked."""

    service: str
    method: str
    path: str
    symbol: str
    at: float
    status: int | None = None


class RequestLog:
    """The last requests, and how many each service had since the last clear."""

    def __init__(self) -> None:
        self._requests: deque[Received] = deque(maxlen=KEPT_REQUESTS)
        self.counts: Counter[str] = Counter()

    def add(self, service: str, method: str, path: str, symbol: str) -> Received:
        received = Received(service, method, path, symbol, time.time())
        self._requests.append(received)
        self.counts[service] += 1
        return received

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(received) for received in self._requests]

    def clear(self) -> None:
        self._requests.clear()
        self.counts.clear()


class Control:
    """Answers `/control/...`."""

    def __init__(
        self,
        book: CandleBook,
        faults: FaultBoard,
        requests: RequestLog,
        telegram: Telegram,
        collector: Collector,
        limits: Limits | None,
    ) -> None:
        self._book = book
        self._faults = faults
        self._requests = requests
        self._telegram = telegram
        self._chats = TelegramControl(telegram)
        self._collector = collector
        self._limits = limits

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.post(f"{prefix}/faults", self._order_fault),
            web.get(f"{prefix}/faults", self._list_faults),
            web.delete(f"{prefix}/faults", self._clear_faults),
            web.delete(f"{prefix}/faults/{{id}}", self._clear_faults),
            *self._chats.routes(f"{prefix}/telegram"),
            web.get(f"{prefix}/otlp/spans", self._spans),
            web.get(f"{prefix}/otlp/metrics", self._metrics),
            web.get(f"{prefix}/otlp/logs", self._logs),
            web.get(f"{prefix}/summary", self._summary),
            web.get(f"{prefix}/requests", self._listed_requests),
            web.get(f"{prefix}/symbols", self._symbols),
            web.delete(f"{prefix}/state", self._clear_state),
        ]

    def summary(self) -> dict[str, Any]:
        """How much was received since the last clear; `limits` only where they are enforced."""
        limits = {} if self._limits is None else {"limits": self._limits.summary()}
        return {
            "telegram_messages": len(self._telegram),
            **self._collector.counts(),
            "requests": {service: self._requests.counts[service] for service in sorted(self._requests.counts)},
            **limits,
        }

    async def _order_fault(self, request: web.Request) -> web.Response:
        try:
            fault = self._faults.order(await request.json())
        except FaultSpecError as error:
            return web.json_response({"error": str(error)}, status=400)
        except ValueError:
            return web.json_response({"error": "the body is not JSON"}, status=400)
        return web.json_response({"id": fault.id}, status=201)

    async def _list_faults(self, _: web.Request) -> web.Response:
        return web.json_response(self._faults.listed())

    async def _clear_faults(self, request: web.Request) -> web.Response:
        named = request.match_info.get("id")
        if named is not None and not named.isdecimal():
            return web.json_response({"error": f"{named!r} is no fault id"}, status=400)
        lifted = self._faults.clear(int(named) if named is not None else None)
        if named is not None and not lifted:
            return web.json_response({"error": f"there is no fault {named}"}, status=404)
        return web.json_response({"cleared": lifted})

    async def _spans(self, _: web.Request) -> web.Response:
        return web.json_response(self._collector.spans())

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.json_response(self._collector.metrics())

    async def _logs(self, _: web.Request) -> web.Response:
        return web.json_response(self._collector.logs())

    async def _summary(self, _: web.Request) -> web.Response:
        return web.json_response(self.summary())

    async def _listed_requests(self, _: web.Request) -> web.Response:
        return web.json_response(self._requests.listed())

    async def _symbols(self, _: web.Request) -> web.Response:
        return web.json_response({market: self._book.symbols(market) for market in MARKETS})

    async def _clear_state(self, _: web.Request) -> web.Response:
        self._telegram.clear()
        self._collector.clear()
        self._requests.clear()
        if self._limits is not None:
            self._limits.clear()
        return web.json_response({"cleared": True})
