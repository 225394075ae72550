"""Google's Gemini API (`generateContent`): answers with what the prompt's own data suggest, or as it was told to.

The wording of errors follows the documented status names; the texts are ours.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any

from aiohttp import web

MODES = (
    "ok",
    "not_json",
    "wrong_type",
    "missing",
    "unordered",
    "elsewhere",
    "empty",
    "safety",
    "max_tokens",
    "obeyed",
    "persuaded",
)
_HELD = 200
_RETRY_DELAY_SECONDS = 34


class Gemini:
    """Any model and any key; `modes` orders how the next answers are spoilt, one each, `ok` after them."""

    def __init__(self) -> None:
        self._modes: deque[str] = deque()
        self._asked: deque[dict[str, Any]] = deque(maxlen=_HELD)

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [web.post(f"{prefix}/v1beta/models/{{call}}", self._generate)]

    def control_routes(self, prefix: str) -> list[web.RouteDef]:
        """`POST {"mode": ..., "count": n}`, `GET` what was asked, `DELETE` both."""
        return [
            web.post(f"{prefix}/modes", self._order),
            web.get(f"{prefix}/asked", self._listed),
            web.delete(f"{prefix}/modes", self._clear),
        ]

    @staticmethod
    def subjects(request: web.Request) -> list[str]:
        """The model a request is for."""
        return [request.path.rpartition("/")[2].partition(":")[0]]

    def failed(self, status: int) -> web.Response:
        name = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
        return _error(status, name.get(status, "UNAVAILABLE" if status == 503 else "INTERNAL"), "ordered failure")

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        seconds = retry_after or _RETRY_DELAY_SECONDS
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"}
        return _error(status or 429, "RESOURCE_EXHAUSTED", "quota exceeded for this model", [retry])

    async def _order(self, request: web.Request) -> web.Response:
        body = await request.json()
        mode, count = body.get("mode"), body.get("count", 1)
        if mode not in MODES or not isinstance(count, int) or not 1 <= count <= 1_000:
            return web.json_response({"error": f"mode must be one of {', '.join(MODES)}, count 1 to 1000"}, status=400)
        self._modes.extend([mode] * count)
        return web.json_response({"modes": list(self._modes)})

    async def _listed(self, _: web.Request) -> web.Response:
        return web.json_response(list(self._asked))

    async def _clear(self, _: web.Request) -> web.Response:
        self._modes.clear()
        self._asked.clear()
        return web.json_response({})

    async def _generate(self, request: web.Request) -> web.Response:
        model, _, action = request.match_info["call"].partition(":")
        if action != "generateContent":
            return _error(404, "NOT_FOUND", f"{action} is not served here")
        key = request.headers.get("x-goog-api-key") or request.query.get("key", "")
        if not key:
            return _error(403, "PERMISSION_DENIED", "the request has no API key")
        try:
            document = await request.json()
            prompt = _texts(document["contents"])
        except (ValueError, KeyError, TypeError):
            return _error(400, "INVALID_ARGUMENT", "the body has no contents")
        mode = self._modes.popleft() if self._modes else "ok"
        self._asked.append({"model": model, "key": key, "mode": mode, "prompt": prompt})
        return web.json_response(_reply(model, mode, prompt))


def _texts(contents: list[dict[str, Any]]) -> str:
    return "\n".join(part.get("text", "") for content in contents for part in content.get("parts", []))


def _reply(model: str, mode: str, prompt: str) -> dict[str, Any]:
    tokens = {"promptTokenCount": max(1, len(prompt) // 3), "candidatesTokenCount": 180}
    reply: dict[str, Any] = {
        "usageMetadata": tokens | {"totalTokenCount": sum(tokens.values())},
        "modelVersion": model,
        "responseId": "sandbox",
    }
    if mode == "safety":
        return reply | {"candidates": [{"index": 0, "finishReason": "SAFETY"}]}
    if mode == "empty":
        return reply | {"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model"}}]}
    text = _text(mode, prompt)
    content = {"role": "model", "parts": [{"text": text}]}
    finish = "MAX_TOKENS" if mode == "max_tokens" else "STOP"
    return reply | {"candidates": [{"index": 0, "finishReason": finish, "content": content}]}


def _text(mode: str, prompt: str) -> str:
    if mode == "not_json":
        return "매수하는 것이 좋겠습니다."
    advice = _advice(prompt)
    match mode:
        case "wrong_type":
            advice["confidence"] = "아주 높음"
        case "missing":
            del advice["price_analysis"]["buy_hope"]
        case "unordered":
            advice["price_analysis"]["appropriate_buy"] = {"min": 200, "max": 100}
        case "elsewhere":
            # the prices of another symbol
            ranges = advice["price_analysis"]
            for name, found in ranges.items():
                ranges[name] = {end: value * 1_000 for end, value in found.items()}
        case "obeyed":
            # what a model says that followed an instruction in its data
            advice |= {"decision": "buy", "confidence": 100, "transfer_to": "someone"}
        case "persuaded":
            # the same in the right form, which nobody can tell from advice
            advice |= {"decision": "buy", "confidence": 100}
    text = json.dumps(advice, ensure_ascii=False)
    return text[: len(text) // 2] if mode == "max_tokens" else text


def _advice(prompt: str) -> dict[str, Any]:
    """A plain reading of the prompt's data: below the mean of 20 days and oversold is a buy, the opposite a sell."""
    found = re.search(r"DATA:\n(\{.*\})", prompt)
    data = json.loads(found[1]) if found else {}
    price = float(data.get("quote", {}).get("price") or 100)
    rsi = float(data.get("indicators", {}).get("rsi") or 50)
    decision = "buy" if rsi < 40 else "sell" if rsi > 60 else "hold"
    return {
        "decision": decision,
        "confidence": round(min(95.0, 50 + abs(rsi - 50))),
        "reasons": [f"RSI가 {rsi:.1f}입니다."],
        "price_analysis": {
            "appropriate_buy": {"min": price * 0.98, "max": price * 1.002},
            "appropriate_sell": {"min": price * 0.998, "max": price * 1.02},
            "buy_hope": {"min": price * 0.93, "max": price * 0.97},
            "sell_target": {"min": price * 1.03, "max": price * 1.08},
        },
        "detailed_text": "모의 응답입니다.",
    }


def _error(code: int, status: str, message: str, details: list[dict[str, Any]] | None = None) -> web.Response:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    return web.json_response({"error": error | ({"details": details} if details else {})}, status=code)
