"""The calls of the Bot API, one by one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from sandbox.faults import REFUSAL
from sandbox.telegram import fields as parameters
from sandbox.telegram.chats import bot, chat, person
from sandbox.telegram.commands import Commands
from sandbox.telegram.errors import ApiError, bad, refusal
from sandbox.telegram.fields import Fields
from sandbox.telegram.formatting import caption_of, text_of, units
from sandbox.telegram.markup import inline_of, markup_of
from sandbox.telegram.messages import Message, Messages, Written
from sandbox.telegram.pace import Pace
from sandbox.telegram.photos import Photo, Photos
from sandbox.telegram.presses import NoSuchButton, Presses, data_of
from sandbox.telegram.refusals import ordered
from sandbox.telegram.updates import Updates

# what counts for the pace
PACED = ("sendmessage", "sendphoto", "editmessagetext", "editmessagecaption", "editmessagereplymarkup")


class Telegram:
    """A Bot API server for one bot or, without `token`, for any. With `pace` it refuses what is sent too fast."""

    def __init__(self, token: str = "", *, pace: bool = False) -> None:
        self._token = token
        # whose messages they are: the token that called last
        self._bot = token
        self._messages = Messages()
        self._updates = Updates()
        self.pace = Pace() if pace else None
        self.presses = Presses()
        self.commands = Commands()
        self.photos = Photos()
        # what the page calls the chats; the Bot API goes by their ids
        self.titles: dict[int | str, str] = {}

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [web.route("*", f"{prefix}/bot{{token}}/{{method}}", self._call)]

    async def subjects(self, request: web.Request) -> list[str]:
        """The chat a request is about."""
        try:
            fields = await parameters.read(request)
        except ApiError:
            return []
        return [str(fields["chat_id"])] if "chat_id" in fields else []

    def failed(self, status: int) -> web.Response:
        return refusal(status, "Internal Server Error")

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        description = f"Too Many Requests: retry after {retry_after}"
        return refusal(status or 429, description, {"retry_after": retry_after})

    def keep_pace(self, on: bool) -> None:
        """From now on refuse what is sent too fast, or no longer."""
        self.pace = Pace() if on else None

    def messages(self) -> list[dict[str, Any]]:
        """What was sent, oldest first."""
        return [asdict(message) for message in self._messages.sent()]

    def last(self, count: int) -> list[Message]:
        return self._messages.sent()[-count:]

    def everything(self) -> Iterable[Message | Written]:
        """What the bot sent and what people wrote to it, oldest first."""
        return self._messages.everything()

    def __len__(self) -> int:
        return len(self._messages)

    def clear(self) -> None:
        self._messages.clear()

    def receive(self, chat_id: int, text: str, user_id: int | None = None, username: str = "") -> dict[str, Any]:
        """Let someone write `text` to the bot; the next long poll delivers it. Returns the update.

        Without `user_id` it is the person of a private chat, or somebody of the group.
        """
        written = Written(
            message_id=self._messages.next_id(),
            chat_id=chat_id,
            text=text,
            entities=[],
            at=time.time(),
            user_id=abs(chat_id) if user_id is None else user_id,
            username=username,
        )
        if text.startswith("/"):
            written.entities.append({"type": "bot_command", "offset": 0, "length": units(text.split()[0])})
        self._messages.add_written(written)
        message: dict[str, Any] = {
            "message_id": written.message_id,
            "from": person(written.user_id, username),
            "chat": chat(chat_id),
            "date": int(written.at),
            "text": text,
        }
        if written.entities:
            message["entities"] = written.entities
        return self._updates.add("message", message)

    def press(self, chat_id: int, message_id: int, label: str, user_id: int | None = None) -> dict[str, Any]:
        """Let someone press the button `label` under a message of the bot; the next long poll delivers it.

        Returns the update. Raises `NoSuchButton`.
        """
        message = self._messages.find(chat_id, message_id)
        if message is None:
            raise NoSuchButton(f"there is no message {message_id} of the bot in chat {chat_id}")
        data = data_of(message, label)
        press = self.presses.add(message, label, abs(chat_id) if user_id is None else user_id)
        query = {
            "id": press.id,
            "from": person(press.user_id),
            "message": message.shown(self._bot),
            "chat_instance": str(abs(chat_id)),
            "data": data,
        }
        return self._updates.add("callback_query", query)

    def join(self, chat_id: int, user_id: int, status: str = "member") -> dict[str, Any]:
        """Let someone add the bot to a group, or remove it as "left" or "kicked". Returns the update."""
        old, new = ("left", status) if status == "member" else ("member", status)
        change = {
            "chat": chat(chat_id),
            "from": person(user_id),
            "date": int(time.time()),
            "old_chat_member": {"user": bot(self._bot), "status": old},
            "new_chat_member": {"user": bot(self._bot), "status": new},
        }
        return self._updates.add("my_chat_member", change)

    async def _call(self, request: web.Request) -> web.Response:
        token, method = request.match_info["token"], request.match_info["method"].lower()
        if self._token and token != self._token:
            return refusal(401, "Unauthorized")
        self._bot = token
        try:
            fields = await parameters.read(request)
            if (fault := request.get(REFUSAL)) is not None:
                if (error := ordered(fault, method, fields)) is not None:
                    raise error
                fault.pass_over()
            if self.pace is not None and method in PACED:
                self.pace.take(parameters.chat_id(fields))
            return web.json_response({"ok": True, "result": await self._result(token, method, fields)})
        except ApiError as error:
            return refusal(error.code, str(error), error.parameters)

    async def _result(self, token: str, method: str, fields: Fields) -> Any:
        match method:
            case "getme":
                return bot(token) | {
                    "can_join_groups": True,
                    "can_read_all_group_messages": False,
                    "supports_inline_queries": False,
                }
            case "getchat":
                return chat(parameters.chat_id(fields))
            case "sendmessage":
                return self._send(token, fields, *text_of(fields))
            case "sendphoto":
                return self._send(token, fields, *caption_of(fields), self.photos.of(fields))
            case "editmessagetext" | "editmessagecaption" | "editmessagereplymarkup":
                return self._edit(token, method, fields)
            case "deletemessage":
                if not self._messages.delete(parameters.chat_id(fields), parameters.whole(fields, "message_id")):
                    raise bad("message to delete not found")
                return True
            case "getupdates":
                return await self._updates.poll(fields)
            case "answercallbackquery":
                return self.presses.answer(fields)
            case "setmycommands":
                return self.commands.set(fields)
            case "getmycommands":
                return self.commands.get(fields)
            case "deletemycommands":
                return self.commands.delete(fields)
            case "sendchataction":
                parameters.chat_id(fields)
                return True
            case "deletewebhook":
                if parameters.true(fields, "drop_pending_updates"):
                    self._updates.drop()
                return True
            case "logout" | "close":
                return True
            case "getwebhookinfo":
                return {"url": "", "has_custom_certificate": False, "pending_update_count": len(self._updates)}
            case _:
                raise ApiError(404, "Not Found")

    def _send(
        self, token: str, fields: Fields, text: str, entities: list[dict[str, Any]], photo: Photo | None = None
    ) -> dict[str, Any]:
        chat_id, markup = parameters.chat_id(fields), markup_of(fields)
        message = Message(
            message_id=0,
            chat_id=chat_id,
            text=text,
            entities=entities,
            at=time.time(),
            original_text=text,
            parse_mode=fields.get("parse_mode"),
            reply_markup=markup,
            disable_notification=parameters.true(fields, "disable_notification"),
            message_thread_id=parameters.whole(fields, "message_thread_id"),
            reply_to=self._replied(fields),
        )
        if photo is not None:
            message.photo, message.photo_sizes = photo.id, photo.sizes()
        message.message_id = self._messages.next_id()
        self._messages.add(message)
        return message.shown(token)

    def _replied(self, fields: Fields) -> int | None:
        given = parameters.structure(fields, "reply_parameters")
        source: Fields = given if isinstance(given, dict) else {"message_id": fields.get("reply_to_message_id")}
        replied = parameters.whole(source, "message_id")
        if replied is None or self._messages.was(replied):
            return replied
        if parameters.true(source, "allow_sending_without_reply"):
            return None
        raise bad("message to be replied not found")

    def _edit(self, token: str, method: str, fields: Fields) -> dict[str, Any]:
        message = self._messages.find(parameters.chat_id(fields), parameters.whole(fields, "message_id"))
        if message is None:
            raise bad("message to edit not found")
        markup = inline_of(fields)
        if method == "editmessagereplymarkup":
            text, entities = message.text, message.entities
        elif method == "editmessagetext":
            if message.photo:
                raise bad("there is no text in the message to edit")
            text, entities = text_of(fields)
        else:
            if not message.photo:
                raise bad("there is no caption in the message to edit")
            text, entities = caption_of(fields)
        message.edit(text, entities, markup)
        return message.shown(token)
