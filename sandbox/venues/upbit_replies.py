"""Replies of the Upbit stand-in to signed requests, and what becomes of the reply to an order when a fault has it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from sandbox.faults import MAINTENANCE, Fault, drop
from sandbox.venues.upbit_keys import Refused

# the order is created, and then its reply is not what it should be
REPLIES_LOST = ("lost_reply", "reset", "error", "html", "garbled", "blocked", "late", "doubled")


async def lost(fault: Fault, request: web.Request) -> web.StreamResponse:
    """What is answered to an order that was created, as the fault says."""
    match fault.variant:
        case "lost_reply":
            await asyncio.sleep(fault.seconds)
            drop(request)
        case "reset":
            half = web.StreamResponse(status=201, headers={"Content-Type": "application/json"})
            half.content_length = 500
            await half.prepare(request)
            await half.write(b'{"uuid": "')
            drop(request)
        case "error":
            status = fault.status or 500
            return refused(Refused(status, "internal_server_error", "일시적인 서버 오류가 발생했습니다."))
        case "html":
            return web.Response(text=MAINTENANCE, content_type="text/html", status=fault.status or 200)
        case "garbled":
            return web.Response(text='{"uuid": ', content_type="application/json", status=201)
        case "blocked":
            message = f"Too many API requests. Blocked for {fault.retry_after} seconds."
            return refused(Refused(418, "too_many_requests", message))
        case "doubled":
            # something on the way sent it twice, and the answer to the second is what arrives
            return refused(Refused(400, "duplicated_identifier", "이미 사용된 identifier 입니다."))
        case _:
            drop(request)
    return web.Response()


def reply(document: Any, status: int = 200) -> web.Response:
    """A reply in JSON with the header about the rate."""
    return web.json_response(document, status=status, headers={"Remaining-Req": "group=default; min=1800; sec=29"})


def refused(refusal: Refused) -> web.Response:
    """A refusal in Upbit's words."""
    return reply({"error": {"name": refusal.name, "message": str(refusal)}}, refusal.status)
