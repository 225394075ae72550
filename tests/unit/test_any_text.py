"""Whatever stands in a field, every message function makes a message that Telegram's stand-in takes as it is."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications import life_texts, texts
from notifications.alert import Alert, read_payload
from notifications.message import TELEGRAM_LIMIT, Message, sendable_rows, utf16_length
from notifications.words import EN, KO, Words
from sandbox.telegram.formatting import caption_of, text_of
from sandbox.telegram.markup import markup_of
from trading.state import State, TradingState

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2026, 3, 4, 17, 0, tzinfo=UTC)
# They take a message, and are put upon each of them below.
UPON_A_MESSAGE = {texts.with_count, life_texts.diverted}

ODD = (
    "",
    " ",
    "\n\n",
    "_*[]()~`>#+-=|{}.!\\",
    "<b>&amp;</i><a href='x'>",
    "**bold** [a](http://b) ```code",
    "👩‍👩‍👧‍👦🏳️‍🌈👍🏽",
    "\ud800",
    "\udfff\ud83d",
    "\u202eالعربية עברית\u202c",
    "\u200b\u200d\ufeff\u2060\u00ad",
    "\x00\x07\x1b[31m\x7f\x85\u2028",
    "e\u0301" * 50,
    "가나다\r\n라",
)
PIECES = ("_*[`<&>", "👩‍👩‍👧‍👦", "\ud800", "\u202eא", "\u200b", "\x00\x1b", "가\n", "x")
LARGE = tuple((piece * 100_000)[:100_000] for piece in PIECES)
TEXTS = st.one_of(st.sampled_from(ODD), st.text(st.characters(), max_size=60), st.sampled_from(LARGE))
TIMES = st.integers(946_684_800, 4_102_444_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
# a symbol without its market is no scope
STATES = st.builds(TradingState, st.sampled_from(State), TEXTS, st.none() | TIMES, TEXTS, st.none() | TEXTS)
AMOUNTS = st.decimals("-1e12", "1e12", allow_nan=False, places=8)
# the words are ours, all else comes from outside
st.register_type_strategy(Words, st.sampled_from([KO, EN]))
st.register_type_strategy(TradingState, STATES)


def functions() -> dict[str, Callable[..., Message]]:
    """Every public function of the modules of texts that makes a message."""
    found = {}
    for path in sorted((ROOT / "notifications").glob("*texts.py")):
        module = import_module(f"notifications.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            ours = function.__module__ == module.__name__ and not name.startswith("_")
            if ours and get_type_hints(function).get("return") is Message and function not in UPON_A_MESSAGE:
                found[f"{path.stem}.{name}"] = function
    return found


FUNCTIONS = functions()


@pytest.fixture(scope="module", autouse=True)
def odd_types() -> Any:
    """In this module a field of these types may hold anything that a foreign text or venue may put there."""
    before = {kind: st.from_type(kind) for kind in (str, Decimal, datetime, float, int)}
    st.register_type_strategy(str, TEXTS)
    st.register_type_strategy(Decimal, AMOUNTS)
    st.register_type_strategy(datetime, TIMES)
    st.register_type_strategy(float, st.floats(0, 1e9))
    st.register_type_strategy(int, st.integers(0, 1_000_000))
    yield
    for kind, strategy in before.items():
        st.register_type_strategy(kind, strategy)


def arguments(draw: st.DataObject, function: Callable[..., Message]) -> tuple[list[Any], dict[str, Any]]:
    hints = get_type_hints(function)
    positional, named = [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        value = draw.draw(st.from_type(hints[name]), name)
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            named[name] = value
        else:
            positional.append(value)
    return positional, named


def check(message: Message) -> None:
    """What the stand-in says of it, as a text and as the caption of a picture. Raises `ApiError`."""
    entities = [{"type": one.type, "offset": one.offset, "length": one.length} for one in message.entities]
    assert all(one.length > 0 for one in message.entities)
    fields = json.loads(json.dumps({"text": message.text, "entities": json.dumps(entities)}))
    assert fields["text"].encode()
    text_of(fields)
    for caption in (message.title(), message.caption()):
        formatted = [{"type": one.type, "offset": one.offset, "length": one.length} for one in caption.entities]
        caption_of({"caption": caption.text, "caption_entities": formatted})
        assert caption.text.strip()
    rows = [
        [{"text": one.label} | ({"callback_data": one.action} if one.action else {"url": one.url}) for one in row]
        for row in sendable_rows(message.buttons)
    ]
    markup_of({"reply_markup": {"inline_keyboard": rows}})


def test_every_module_of_texts_is_looked_at() -> None:
    assert len(FUNCTIONS) > 20
    assert {"texts.analysis_complete", "texts.order", "texts.error", "run_texts.run_summary"} <= FUNCTIONS.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_any_text_in_any_field_makes_a_message_that_is_taken(name: str, draw: st.DataObject) -> None:
    positional, named = arguments(draw, FUNCTIONS[name])
    made = FUNCTIONS[name](*positional, **named)
    check(made)
    kept = read_payload(Alert("f", "error", made.redacted(()), AT, symbol="\ud800", summary="\x00").payload()).message
    check(kept)
    counted = texts.with_count(KO, kept, 10_000_000, AT, AT)
    assert utf16_length(counted.text) <= TELEGRAM_LIMIT
    assert counted.text.endswith("×10,000,000, 마지막 02:00")
    check(counted)
    check(life_texts.diverted(EN, counted, "ERROR_REPORTING_CHAT_ID (or TELEGRAM_CHAT_ID)"))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS, secret=st.sampled_from(ODD[3:9]))
def test_what_was_taken_out_of_a_message_leaves_one_that_is_taken(text: str, secret: str) -> None:
    failure = texts.Failure("E", f"{secret}{text}", AT, task=text, stack=text)
    check(texts.error(KO, failure).redacted([secret]))
