"""The Bot API as far as an alerting bot uses it: sending, editing, chat actions and long polling.

Limits and error texts are those of the real server. `parse_mode` is not interpreted: the text is kept as it came.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict, deque
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

KEPT_MESSAGES = 50_000
MOST_UTF16_UNITS = 4096
LONGEST_POLL = 50.0


class ApiError(Exception):
    """A refusal of the Bot API: its code and description."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


@dataclass(slots=True)
class Message:
    """A message a bot sent. `at` is its receipt in Unix seconds; `text` and `entities` are those of the last edit."""

    message_id: int
    chat_id: int | str
    text: str
    entities: list[dict[str, Any]]
    at: float
    original_text: str
    parse_mode: str | None = None
    reply_markup: Any = None
    disable_notification: bool = False
    message_thread_id: int | None = None
    edits: list[dict[str, Any]] = field(default_factory=list)


class Telegram:
    """A Bot API server for one bot or, without `token`, for any."""

    def __init__(self, token: str = "") -> None:
        self._token = token
        self._last_message_id = 0
        self._last_update_id = 0
        self._messages: OrderedDict[int, Message] = OrderedDict()
        self._updates: deque[dict[str, Any]] = deque(maxlen=1_000)
        self._news = asyncio.Event()

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [web.route("*", f"{prefix}/bot{{token}}/{{method}}", self._call)]

    async def subjects(self, request: web.Request) -> list[str]:
        """The chat a request is about."""
        try:
            fields = await _fields(request)
        except ApiError:
            return []
        return [str(fields["chat_id"])] if "chat_id" in fields else []

    def failed(self, status: int) -> web.Response:
        return _refusal(status, "Internal Server Error")

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        code = status or 429
        description = f"Too Many Requests: retry after {retry_after}"
        return _refusal(code, description, {"retry_after": retry_after})

    def messages(self) -> list[dict[str, Any]]:
        """What was sent, oldest first."""
        return [asdict(message) for message in self._messages.values()]

    def last(self, count: int) -> list[Message]:
        return list(self._messages.values())[-count:]

    def __len__(self) -> int:
        return len(self._messages)

    def clear(self) -> None:
        self._messages.clear()

    def receive(self, chat_id: int, text: str) -> dict[str, Any]:
        """Let someone write `text` to the bot; the next long poll delivers it."""
        self._last_update_id += 1
        self._last_message_id += 1
        message: dict[str, Any] = {
            "message_id": self._last_message_id,
            "from": {"id": abs(chat_id), "is_bot": False, "first_name": "Operator"},
            "chat": _chat(chat_id),
            "date": int(time.time()),
            "text": text,
        }
        if text.startswith("/"):
            length = _units(text.split()[0])
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        update = {"update_id": self._last_update_id, "message": message}
        self._updates.append(update)
        self._news.set()
        return update

    async def _call(self, request: web.Request) -> web.Response:
        token, method = request.match_info["token"], request.match_info["method"]
        if self._token and token != self._token:
            return _refusal(401, "Unauthorized")
        try:
            fields = await _fields(request)
            return web.json_response({"ok": True, "result": await self._result(token, method.lower(), fields)})
        except ApiError as error:
            return _refusal(error.code, str(error))

    async def _result(self, token: str, method: str, fields: dict[str, Any]) -> Any:
        match method:
            case "getme":
                return _bot(token) | {
                    "can_join_groups": True,
                    "can_read_all_group_messages": False,
                    "supports_inline_queries": False,
                }
            case "getchat":
                return _chat(_chat_id(fields))
            case "sendmessage":
                return self._send(token, fields)
            case "editmessagetext":
                return self._edit(token, fields)
            case "getupdates":
                return await self._poll(fields)
            case "sendchataction":
                _chat_id(fields)
                return True
            case "deletewebhook" | "setmycommands" | "answercallbackquery" | "logout" | "close":
                return True
            case "getwebhookinfo":
                return {"url": "", "has_custom_certificate": False, "pending_update_count": len(self._updates)}
            case _:
                raise ApiError(404, "Not Found")

    def _send(self, token: str, fields: dict[str, Any]) -> dict[str, Any]:
        chat_id = _chat_id(fields)
        text, entities = _content(fields)
        self._last_message_id += 1
        message = Message(
            message_id=self._last_message_id,
            chat_id=chat_id,
            text=text,
            entities=entities,
            at=time.time(),
            original_text=text,
            parse_mode=fields.get("parse_mode"),
            reply_markup=_json(fields.get("reply_markup"), "reply_markup"),
            disable_notification=str(fields.get("disable_notification", "")).lower() == "true",
            message_thread_id=_whole(fields, "message_thread_id"),
        )
        self._messages[message.message_id] = message
        while len(self._messages) > KEPT_MESSAGES:
            self._messages.popitem(last=False)
        return _shown(token, message)

    def _edit(self, token: str, fields: dict[str, Any]) -> dict[str, Any]:
        chat_id = _chat_id(fields)
        message = self._messages.get(_whole(fields, "message_id") or 0)
        if message is None or message.chat_id != chat_id:
            raise ApiError(400, "Bad Request: message to edit not found")
        text, entities = _content(fields)
        if (text, entities) == (message.text, message.entities):
            raise ApiError(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly "
                "the same as a current content and reply markup of the message",
            )
        message.text, message.entities = text, entities
        message.edits.append({"at": time.time(), "text": text, "entities": entities})
        return _shown(token, message)

    async def _poll(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        offset = _whole(fields, "offset") or 0
        limit = _whole(fields, "limit") or 100
        until = time.monotonic() + min(max(_whole(fields, "timeout") or 0, 0), LONGEST_POLL)
        while offset > 0 and self._updates and self._updates[0]["update_id"] < offset:
            self._updates.popleft()
        while not self._updates and (left := until - time.monotonic()) > 0:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                break
        return list(self._updates)[:limit]


async def _fields(request: web.Request) -> dict[str, Any]:
    """The parameters of a call: from the query, a form or a JSON body."""
    fields: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json" and request.body_exists:
        try:
            body = await request.json()
        except ValueError:
            raise ApiError(400, "Bad Request: can't parse request body as JSON") from None
        if not isinstance(body, dict):
            raise ApiError(400, "Bad Request: object expected as the request body")
        return fields | body
    return fields | dict(await request.post())


def _content(fields: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    text = str(fields.get("text") or "")
    if not text.strip():
        raise ApiError(400, "Bad Request: message text is empty")
    units = _units(text)
    if units > MOST_UTF16_UNITS:
        raise ApiError(400, "Bad Request: message is too long")
    entities = _json(fields.get("entities"), "entities") or []
    if not isinstance(entities, list):
        raise ApiError(400, "Bad Request: can't parse entities: expected an Array")
    inside = _inside_symbols(text)
    for entity in entities:
        if not isinstance(entity, dict) or not entity.get("type"):
            raise ApiError(400, "Bad Request: can't parse entities: MessageEntity must have a type")
        start = _whole(entity, "offset") or 0
        end = start + (_whole(entity, "length") or 0)
        if start < 0 or end > units:
            raise ApiError(
                400,
                f"Bad Request: entity beginning at UTF-16 offset {start} ends after the end of the text "
                f"at UTF-16 offset {units}",
            )
        if start in inside or end in inside:
            raise ApiError(
                400, f"Bad Request: entity beginning at UTF-16 offset {start} ends in a middle of a UTF-16 symbol"
            )
    return text, entities


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _inside_symbols(text: str) -> set[int]:
    """The UTF-16 offsets between the two halves of a surrogate pair."""
    inside, offset = set(), 0
    for character in text:
        if ord(character) > 0xFFFF:
            inside.add(offset + 1)
            offset += 1
        offset += 1
    return inside


def _chat_id(fields: dict[str, Any]) -> int | str:
    text = str(fields.get("chat_id") or "").strip()
    if not text:
        raise ApiError(400, "Bad Request: chat_id is empty")
    if text.startswith("@") and len(text) > 1:
        return text
    try:
        return int(text)
    except ValueError:
        raise ApiError(400, "Bad Request: chat not found") from None


def _whole(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ApiError(400, f"Bad Request: invalid {name} specified") from None


def _json(value: Any, name: str) -> Any:
    """A parameter that forms carry as JSON text and JSON bodies as itself."""
    if not isinstance(value, str) or not value:
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ApiError(400, f"Bad Request: can't parse {name} JSON object") from None


def _shown(token: str, message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "message_id": message.message_id,
        "from": _bot(token),
        "chat": _chat(message.chat_id),
        "date": int(message.at),
        "text": message.text,
    }
    if message.entities:
        shown["entities"] = message.entities
    if message.reply_markup is not None:
        shown["reply_markup"] = message.reply_markup
    if message.edits:
        shown["edit_date"] = int(message.edits[-1]["at"])
    return shown


def _bot(token: str) -> dict[str, Any]:
    number = token.partition(":")[0]
    return {
        "id": int(number) if number.isdecimal() else 1,
        "is_bot": True,
        "first_name": "Autotrader (sandbox)",
        "username": "autotrader_sandbox_bot",
    }


def _chat(chat_id: int | str) -> dict[str, Any]:
    if isinstance(chat_id, str):
        return {"id": -1_000_000_000_001, "type": "channel", "title": chat_id, "username": chat_id.removeprefix("@")}
    if chat_id > 0:
        return {"id": chat_id, "type": "private", "first_name": "Operator"}
    kind = "supergroup" if str(chat_id).startswith("-100") else "group"
    return {"id": chat_id, "type": kind, "title": "Trading room"}


def _refusal(code: int, description: str, parameters: dict[str, Any] | None = None) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters is not None:
        body["parameters"] = parameters
    return web.json_response(body, status=code)
