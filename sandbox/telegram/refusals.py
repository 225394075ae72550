"""The refusals that can be ordered (`sandbox.faults`), as the real server words them."""

from __future__ import annotations

from sandbox.faults import Fault
from sandbox.telegram import fields as parameters
from sandbox.telegram.chats import is_supergroup
from sandbox.telegram.errors import ApiError, bad
from sandbox.telegram.fields import Fields
from sandbox.telegram.updates import CONFLICT

FORMATTING = ("entities", "caption_entities", "parse_mode")


def ordered(fault: Fault, method: str, fields: Fields) -> ApiError | None:
    """The refusal a fault makes of this call, or None where it is none that could fail so."""
    match fault.variant:
        case "unauthorized":
            return ApiError(401, "Unauthorized")
        case "conflict":
            return ApiError(409, CONFLICT) if method == "getupdates" else None
        case "parse":
            formatted = any(fields.get(name) not in (None, "", "[]") for name in FORMATTING)
            return (
                bad("can't parse entities: Can't find end of the entity starting at byte offset 0")
                if (formatted)
                else None
            )
        case "picture":
            return bad("IMAGE_PROCESS_FAILED") if method == "sendphoto" else None
        case "gone":
            return bad("message to edit not found") if method.startswith("editmessage") else None
    return _of_chat(fault, parameters.chat_id(fields)) if fields.get("chat_id") else None


def supergroup_of(chat_id: int) -> int:
    """The id a group has after it became a supergroup."""
    return int(f"-100{abs(chat_id):010d}")


def _of_chat(fault: Fault, chat_id: int | str) -> ApiError | None:
    if fault.kind == "migrate":
        if not isinstance(chat_id, int) or chat_id > 0 or is_supergroup(chat_id):
            return None
        moved = {"migrate_to_chat_id": supergroup_of(chat_id)}
        return ApiError(400, "Bad Request: group chat was upgraded to a supergroup chat", moved)
    kind = "supergroup" if isinstance(chat_id, int) and is_supergroup(chat_id) else "group"
    return {
        "not_found": bad("chat not found"),
        "blocked": ApiError(403, "Forbidden: bot was blocked by the user"),
        "kicked": ApiError(403, f"Forbidden: bot was kicked from the {kind} chat"),
        "not_member": ApiError(403, f"Forbidden: bot is not a member of the {kind} chat"),
        "no_rights": bad("not enough rights to send text messages to the chat"),
        "deleted": ApiError(403, "Forbidden: the group chat was deleted"),
    }[fault.variant or "not_found"]
