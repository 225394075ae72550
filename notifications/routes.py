"""Which chat a message goes to: its own, where that is now, or the other one while its own cannot be used."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from notifications import life_texts
from notifications.alert import system_event
from notifications.ledger import Ledger
from notifications.message import Chat, Message, Priority
from notifications.moved import MovedChats
from notifications.sender import Delivered, Moved, Outcome, Picture, Postponed, TelegramSender
from notifications.words import Words
from telemetry.instruments import telegram_usable
from telemetry.redaction import redact

log = logging.getLogger(__name__)

CURES = {
    "throttled": "nothing is lost, the queue waits",
    "unreachable": "alerts are kept; check the network and TELEGRAM_BASE_URL",
    "bad_token": "TELEGRAM_TOKEN is wrong or was revoked: get a new one from @BotFather, set it, restart the notifier",
    "chat_unusable": "check {setting}, and that the bot is in that chat and may write there; {until_then}",
}
RECHECK_SECONDS = 60.0
# Which setting names the chat, and which to look at when it cannot be used.
CHAT_NAMED_BY = {Chat.TRADE: "TELEGRAM_CHAT_ID", Chat.ERROR: "ERROR_REPORTING_CHAT_ID"}
CHAT_SETTINGS = {Chat.TRADE: "TELEGRAM_CHAT_ID", Chat.ERROR: "ERROR_REPORTING_CHAT_ID (or TELEGRAM_CHAT_ID)"}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a message is told: what stands for it if Telegram refuses it, its picture, and whether it makes a sound."""

    fallback: str
    silent: bool
    picture: Picture | None = None


class Routes:
    """Tells messages in the chats named in `chats`, and follows a chat that moves.

    While a chat cannot be used, its errors and all that is critical go to the other one, if that is another.
    """

    def __init__(
        self,
        ledger: Ledger,
        sender: TelegramSender,
        chats: Mapping[Chat, str],
        words: Words,
        secrets: Iterable[str],
        moved: MovedChats,
    ) -> None:
        self._ledger = ledger
        self._sender = sender
        self._chats = dict(chats)
        self._words = words
        self._secrets = tuple(secrets)
        self._moved = moved
        self._unusable_until: dict[Chat, float] = {}
        self._unusable: set[Chat] = set()
        self._followed = asyncio.Event()

    def chat_id(self, chat: Chat) -> str:
        """Where the chat is now; not what the settings say, if the group became a supergroup."""
        return self._moved.now_at(self._chats[chat])

    async def follow_moved_chats(self) -> None:
        """Take up the chats that moved before this start. Raises `RedisError`."""
        # what both go by is named once, by the setting that both read
        named = {chat_id: CHAT_NAMED_BY[chat] for chat, chat_id in reversed(self._chats.items())}
        await self._moved.read({setting: chat_id for chat_id, setting in named.items()})
        self._followed.set()

    async def check_chats(self) -> None:
        """Say at the start, in one line each, which chat cannot be used, and not when the first alert comes; then look
        every minute whether it can be again. Until cancelled.

        Waits for `follow_moved_chats`.
        """
        await self._followed.wait()
        to_check = set(self._chats)
        while True:
            for chat in to_check:
                await self._check(chat)
            await asyncio.sleep(RECHECK_SECONDS)
            to_check = set(self._unusable)

    async def _check(self, chat: Chat) -> None:
        outcome = await self._sender.check_chat(self.chat_id(chat))
        if isinstance(outcome, Moved):
            await self._follow(chat, self.chat_id(chat), outcome)
        elif isinstance(outcome, Postponed):
            self._note_unusable(chat, outcome)
        elif outcome == "usable":
            self._works(chat)

    async def tell(self, message: Message, manner: Manner, edit: int | None, via: str) -> Outcome:
        """To its chat, or to the other one while that cannot be used; what went to `via` is edited there."""
        chat = message.chat
        second = self._second(chat) if chat is Chat.ERROR or message.priority is Priority.CRITICAL else None
        if via and edit is not None:
            return await self._divert(message, self._moved.now_at(via), manner, edit)
        if second is None or not self._is_unusable(chat):
            outcome = await self._deliver(message, chat, self.chat_id(chat), manner, edit)
            if not (isinstance(outcome, Postponed) and outcome.trouble == "chat_unusable"):
                if isinstance(outcome, Delivered):
                    self._works(chat)
                return outcome
            self._note_unusable(chat, outcome)
            if second is None:
                return outcome
        return await self._divert(message, second, manner)

    async def _divert(self, message: Message, chat_id: str, manner: Manner, edit: int | None = None) -> Outcome:
        diverted = life_texts.diverted(self._words, message, CHAT_SETTINGS[message.chat])
        other = self._other(message.chat)
        outcome = await self._deliver(diverted, other, chat_id, manner, edit)
        match outcome:
            case Delivered(message_id, how, _):
                return Delivered(message_id, "edited" if how == "edited" else "diverted", self._moved.now_at(chat_id))
            case Postponed("chat_unusable", _, _):
                self._note_unusable(other, outcome)
        return outcome

    async def _deliver(self, message: Message, chat: Chat, chat_id: str, manner: Manner, edit: int | None) -> Outcome:
        fallback, silent, picture = manner.fallback, manner.silent, manner.picture
        outcome = await self._sender.deliver(
            message, chat_id, edit=edit, fallback=fallback, picture=picture, silent=silent
        )
        if isinstance(outcome, Moved):
            await self._follow(chat, chat_id, outcome)
            # what was sent to the old chat cannot be edited in the new one
            outcome = await self._sender.deliver(
                message, outcome.chat_id, fallback=fallback, picture=picture, silent=silent
            )
        return outcome

    async def _follow(self, chat: Chat, chat_id: str, moved: Moved) -> None:
        """Use the new id from now on, and tell once where it belongs."""
        if self._moved.now_at(chat_id) == moved.chat_id:
            return  # another lane heard it first
        self._moved.note(chat_id, moved.chat_id)
        concerned = [one for one in self._chats if self.chat_id(one) == self._moved.now_at(chat_id)]
        setting = CHAT_NAMED_BY[concerned[0] if concerned else chat]
        log.warning("the %s chat has moved to %s: set %s to it", chat, moved.chat_id, setting)
        now = datetime.now(UTC)
        message = life_texts.chat_moved(self._words, setting=setting, old=chat_id, new=moved.chat_id, at=now)
        event = system_event(f"chat_moved:{chat_id}:{moved.chat_id}", message, now)
        await self._ledger.record(replace(event, kind="chat_moved"))

    def _second(self, chat: Chat) -> str | None:
        """The other chat's id, if it is another."""
        other = self.chat_id(self._other(chat))
        return other if other != self.chat_id(chat) else None

    @staticmethod
    def _other(chat: Chat) -> Chat:
        return Chat.TRADE if chat is Chat.ERROR else Chat.ERROR

    def _is_unusable(self, chat: Chat) -> bool:
        return time.monotonic() < self._unusable_until.get(chat, 0.0)

    def _note_unusable(self, chat: Chat, outcome: Postponed) -> None:
        if chat not in self._unusable_until:
            until_then = (
                "alerts are kept" if self._second(chat) is None else "until then its errors go to the other one"
            )
            cure = CURES["chat_unusable"].format(setting=CHAT_SETTINGS[chat], until_then=until_then)
            log.error(
                "Telegram: the %s chat cannot be used (%s): %s", chat, redact(outcome.reason, self._secrets), cure
            )
        self._unusable_until[chat] = time.monotonic() + outcome.seconds
        self._unusable.add(chat)
        telegram_usable.set(0, {"chat": chat.value})

    def _works(self, chat: Chat) -> None:
        self._unusable.discard(chat)
        telegram_usable.set(1, {"chat": chat.value})
        if self._unusable_until.pop(chat, None) is not None:
            log.info("Telegram: the %s chat can be used again", chat)

    def has_way_round(self, chat: Chat) -> bool:
        """Whether the other chat is another, and can be used as far as is known."""
        return self._second(chat) is not None and not self._is_unusable(self._other(chat))

    def none_usable(self) -> None:
        """Note that Telegram refuses the bot, and so every chat."""
        for chat in self._chats:
            self._unusable.add(chat)
            telegram_usable.set(0, {"chat": chat.value})
