"""What the ledger keeps of a message: all of it, also of one that an older version wrote, and never a secret."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from notifications.alert import Alert, BadPayload, read_payload
from notifications.message import Button, Chat, Entity, Message, Priority

AT = datetime(2026, 3, 4, 17, 0, tzinfo=UTC)
BUTTONS = (
    (Button("Mute 1 h", action="mute:abc"), Button("Trace", url="https://signoz.example/trace/1")),
    (Button("Retry", action="retry:abc"),),
)
MESSAGE = Message("first\nsecond", (Entity("bold", 0, 5),), Priority.HIGH, Chat.ERROR, BUTTONS, "picture-1")


def payload(message: Message) -> str:
    return Alert("f", "error", message, AT).payload()


def test_buttons_and_picture_come_back_as_they_went() -> None:
    assert read_payload(payload(MESSAGE)).message == MESSAGE


def test_a_payload_of_an_older_version_is_read_as_it_was_meant() -> None:
    old = json.loads(payload(replace(MESSAGE, buttons=(), picture="")))
    assert not {"buttons", "picture"} & old.keys(), "and a version before this one reads ours, if it has neither"
    del old["summary"]
    old["kind"] = "order"
    contents = read_payload(json.dumps(old))
    assert contents.message == replace(MESSAGE, buttons=(), picture="")
    assert contents.kind == "order"


@pytest.mark.parametrize("buttons", [1, [1], [[1]], [[{"label": "x"}]], {"a": "b"}, "x"])
def test_buttons_that_cannot_be_read_are_a_payload_that_cannot(buttons: object) -> None:
    fields = json.loads(payload(MESSAGE)) | {"buttons": buttons}
    with pytest.raises(BadPayload):
        read_payload(json.dumps(fields))


def test_what_telegram_would_not_take_is_not_kept() -> None:
    odd = replace(MESSAGE, buttons=((Button("half", action="\ud800"), Button("here", url="http://localhost:3301")),))
    kept = payload(odd)
    assert kept.encode()
    assert read_payload(kept).message.buttons == ()


def test_a_secret_leaves_in_no_part_of_a_button() -> None:
    secret = "hunter22"
    rows = (
        (Button(f"say {secret}", action="fine"), Button("address", url=f"https://a.example/?x={secret}")),
        (Button("action", action=f"do:{secret}"),),
    )
    clean = replace(MESSAGE, buttons=rows).redacted([secret])
    assert clean.buttons == ((Button("say [redacted]", action="fine"),),)
    assert (clean.text, clean.entities, clean.picture) == (MESSAGE.text, MESSAGE.entities, MESSAGE.picture)
    assert MESSAGE.redacted([secret]) is MESSAGE
    both = replace(MESSAGE, text=f"{secret} is out", buttons=rows).redacted(iter([secret]))
    assert secret not in repr(both)
    assert both.entities == ()


def test_the_first_line_stands_under_a_picture_with_its_formatting() -> None:
    title = MESSAGE.title()
    assert (title.text, title.entities, title.buttons) == ("first", (Entity("bold", 0, 5),), ())
    long = replace(MESSAGE, text="🔥" * 3_000, entities=(Entity("bold", 0, 6_000),))
    for caption in (long.title(), long.caption()):
        [entity] = caption.entities
        assert entity.offset + entity.length <= len(caption.text.encode("utf-16-le")) // 2 <= 1024
