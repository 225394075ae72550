"""What can become of an order at the sandbox's KIS, or of its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from sandbox.faults import MAINTENANCE, drop
from sandbox.venues.kis import refusal

FAULTS = (
    "timeout_before", "timeout_after", "reset_before", "reset_mid_reply", "late", "throttled", "ledger_throttled",
    "token_expired", "html_before", "html_after", "error_before", "error_after", "garbled_after", "routing_after",
)  # fmt: skip
# of cancellations alone: the order trades just before, or is still in the list for `looks` readings
CANCEL_FAULTS = ("filled_first", "slow_cancel")


async def before(kind: str, seconds: float, request: web.Request) -> web.StreamResponse | None:
    """The answer of a fault that keeps the order from being taken, or None."""
    match kind:
        case "timeout_before":
            await asyncio.sleep(seconds)
            return _dropped(request)
        case "reset_before":
            return _dropped(request)
        case "throttled":
            return refusal("EGW00201", "초당 거래건수를 초과하였습니다.", 500)
        case "ledger_throttled":
            return refusal("EGW00215", "원장 초당 거래건수를 초과하였습니다.", 500)
        case "token_expired":
            return refusal("EGW00123", "기간이 만료된 token 입니다.", 500)
        case "html_before":
            return web.Response(text=MAINTENANCE, content_type="text/html", status=503)
        case "error_before":
            return web.Response(status=502)
        case _:
            return None


async def after(kind: str, seconds: float, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
    """The answer to an order that was taken; a fault loses or spoils it."""
    match kind:
        case "timeout_after":
            await asyncio.sleep(seconds)
            return _dropped(request)
        case "late":
            return _dropped(request)
        case "reset_mid_reply":
            raw = json.dumps(body).encode()
            reply = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(raw))})
            await reply.prepare(request)
            await reply.write(raw[: len(raw) // 2])
            drop(request)
            return reply
        case "html_after":
            return web.Response(text=MAINTENANCE, content_type="text/html")
        case "error_after":
            return web.Response(status=504)
        case "garbled_after":
            return web.json_response({"rt_cd": "0", "msg_cd": "APBK0013", "output": {"ODNO": ""}})
        case "routing_after":
            return refusal("EGW00203", "OPS라우팅 중 오류가 발생했습니다.", 500)
        case _:
            return web.json_response(body)


def _dropped(request: web.Request) -> web.Response:
    drop(request)
    # the connection is gone; aiohttp wants a response to discard
    return web.Response()
