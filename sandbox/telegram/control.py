"""Lets a person write to the bot, press its buttons and name the chats, and shows what the bot has answered and set."""

from __future__ import annotations

from aiohttp import web

from sandbox.telegram.presses import NoSuchButton
from sandbox.telegram.server import Telegram


class TelegramControl:
    """Answers `/control/telegram/...`."""

    def __init__(self, telegram: Telegram) -> None:
        self._telegram = telegram

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.get(f"{prefix}/messages", self._messages),
            web.post(f"{prefix}/updates", self._write),
            web.post(f"{prefix}/presses", self._press),
            web.get(f"{prefix}/presses", self._presses),
            web.get(f"{prefix}/commands", self._commands),
            web.get(f"{prefix}/photos/{{id}}", self._photo),
            web.put(f"{prefix}/pace", self._pace),
            web.post(f"{prefix}/titles", self._title),
        ]

    async def _messages(self, _: web.Request) -> web.Response:
        return web.json_response(self._telegram.messages())

    async def _write(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            user_id = None if body.get("user_id") is None else int(body["user_id"])
            username = str(body.get("username") or "")
            update = self._telegram.receive(int(body["chat_id"]), str(body["text"]), user_id, username)
        except (ValueError, TypeError, KeyError, AttributeError):
            return _refused("the body is not JSON with chat_id and text, or user_id is no number")
        return web.json_response(update, status=201)

    async def _press(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            user_id = None if body.get("user_id") is None else int(body["user_id"])
            update = self._telegram.press(int(body["chat_id"]), int(body["message_id"]), str(body["label"]), user_id)
        except NoSuchButton as error:
            return web.json_response({"error": str(error)}, status=404)
        except (ValueError, TypeError, KeyError, AttributeError):
            return _refused("the body is not JSON with chat_id, message_id and label, or user_id is no number")
        return web.json_response(update, status=201)

    async def _presses(self, _: web.Request) -> web.Response:
        return web.json_response(self._telegram.presses.listed())

    async def _commands(self, _: web.Request) -> web.Response:
        return web.json_response(self._telegram.commands.listed())

    async def _photo(self, request: web.Request) -> web.Response:
        photo = self._telegram.photos.get(request.match_info["id"])
        if photo is None:
            return web.json_response({"error": "there is no such photo"}, status=404)
        return web.Response(body=photo.content, content_type=photo.content_type)

    async def _pace(self, request: web.Request) -> web.Response:
        try:
            on = (await request.json())["on"]
        except (ValueError, TypeError, KeyError):
            on = None
        if not isinstance(on, bool):
            return _refused('the body is not JSON with "on": true or false')
        self._telegram.keep_pace(on)
        return web.json_response({"on": on})

    async def _title(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            chat_id, title = int(body["chat_id"]), str(body["title"])
        except (ValueError, TypeError, KeyError):
            return _refused("the body is not JSON with chat_id and title")
        self._telegram.titles[chat_id] = title
        return web.json_response({"chat_id": chat_id, "title": title})


def _refused(message: str) -> web.Response:
    return web.json_response({"error": message}, status=400)
