"""The buttons of a message: what Telegram takes as `reply_markup`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from sandbox.telegram import fields as parameters
from sandbox.telegram.errors import bad
from sandbox.telegram.fields import Fields

MOST_DATA_BYTES = 64
MOST_BUTTONS = 100
# what a button does besides: a bot that only alerts and answers uses the first two
ACTIONS = (
    "callback_data", "url", "login_url", "web_app", "switch_inline_query", "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay",
)  # fmt: skip
URL_SCHEMES = ("http", "https", "tg")
# the kinds that are no inline keyboard: a message with one of them cannot be edited
OTHERS = ("keyboard", "remove_keyboard", "force_reply")


def markup_of(fields: Fields) -> dict[str, Any] | None:
    """The `reply_markup` of a new message. Raises `ApiError`."""
    markup = parameters.structure(fields, "reply_markup")
    if markup in (None, "", {}):
        return None
    if not isinstance(markup, dict):
        raise bad("object expected as reply markup")
    if "inline_keyboard" not in markup:
        if not any(name in markup for name in OTHERS):
            raise bad("can't parse reply keyboard markup JSON object")
        return markup
    rows = markup["inline_keyboard"]
    if not isinstance(rows, list):
        raise bad('field "inline_keyboard" of the InlineKeyboardMarkup must be of type Array')
    for row in rows:
        if not isinstance(row, list):
            raise bad('field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays')
        for button in row:
            _check(button)
    if sum(map(len, rows)) > MOST_BUTTONS:
        raise bad("REPLY_MARKUP_TOO_LONG")
    kept = [row for row in rows if row]
    return {"inline_keyboard": kept} if kept else None


def inline_of(fields: Fields) -> dict[str, Any] | None:
    """The `reply_markup` of an edit, which may only be an inline keyboard. Raises `ApiError`."""
    markup = markup_of(fields)
    if markup is not None and "inline_keyboard" not in markup:
        raise bad("inline keyboard expected")
    return markup


def editable(markup: dict[str, Any] | None) -> bool:
    """Whether a message with this markup can be edited."""
    return markup is None or "inline_keyboard" in markup


def buttons(markup: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Every button of an inline keyboard."""
    for row in (markup or {}).get("inline_keyboard", ()):
        yield from row


def _check(button: Any) -> None:
    if not isinstance(button, dict):
        raise bad("can't parse inline keyboard button: InlineKeyboardButton must be an Object")
    text = button.get("text")
    if not isinstance(text, str):
        raise bad('can\'t parse inline keyboard button: field "text" must be of type String')
    if not text.strip():
        raise bad("BUTTON_TEXT_INVALID")
    actions = [name for name in ACTIONS if name in button]
    if not actions:
        raise bad("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if len(actions) > 1:
        raise bad("can't parse inline keyboard button: exactly one action must be specified")
    if actions == ["callback_data"]:
        data = button["callback_data"]
        if not isinstance(data, str) or not 1 <= len(data.encode("utf-8", "surrogatepass")) <= MOST_DATA_BYTES:
            raise bad("BUTTON_DATA_INVALID")
    if actions == ["url"]:
        _check_url(button["url"])


def _check_url(url: Any) -> None:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        sound = parts.scheme.lower() in URL_SCHEMES and bool(parts.netloc) and " " not in url
    except ValueError:
        sound = False
    if not sound:
        raise bad(f"inline keyboard button URL '{url}' is invalid: unsupported URL protocol")
    # the real server takes no host without a dot, so no machine of one's own by its name
    host = parts.hostname or ""
    if parts.scheme.lower() != "tg" and not any(sign in host for sign in ".:"):
        raise bad(f"inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")
