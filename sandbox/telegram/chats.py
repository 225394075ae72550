"""Who takes part: the bot, the people who write to it, and the chats."""

from __future__ import annotations

from typing import Any

PERSON = "Operator"
GROUP = "Trading room"


def bot(token: str) -> dict[str, Any]:
    """The bot of a token as a User."""
    number = token.partition(":")[0]
    return {
        "id": int(number) if number.isdecimal() else 1,
        "is_bot": True,
        "first_name": "Autotrader (sandbox)",
        "username": "autotrader_sandbox_bot",
    }


def person(user_id: int, username: str = "") -> dict[str, Any]:
    """A person as a User."""
    user: dict[str, Any] = {"id": user_id, "is_bot": False, "first_name": PERSON, "language_code": "ko"}
    if username:
        user["username"] = username
    return user


def chat(chat_id: int | str) -> dict[str, Any]:
    """A chat: a person's has a positive id, a group's a negative one, a supergroup's begins with -100."""
    if isinstance(chat_id, str):
        return {"id": -1_000_000_000_001, "type": "channel", "title": chat_id, "username": chat_id.removeprefix("@")}
    if chat_id > 0:
        return {"id": chat_id, "type": "private", "first_name": PERSON}
    return {"id": chat_id, "type": "supergroup" if is_supergroup(chat_id) else "group", "title": GROUP}


def is_supergroup(chat_id: int) -> bool:
    """By its id, as Telegram numbers them."""
    return str(chat_id).startswith("-100")
