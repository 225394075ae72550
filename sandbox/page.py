"""The page a person sees at the sandbox's address: its services, what they received, and the chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from sandbox.telegram import Message

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .2rem 1.2rem .2rem 0; text-align: left }
.message { background: #eef6ff; border-radius: .6rem; padding: .6rem .9rem; margin: .6rem 0; white-space: pre-wrap }
.message small { display: block; color: #678 }
"""


def render(
    services: Sequence[str], source: str, symbols: Mapping[str, Sequence[str]], summary: Mapping[str, Any],
    messages: Sequence[Message],
) -> str:  # fmt: skip
    """The page as HTML; it loads itself anew every five seconds."""
    received = summary["requests"]
    rows = "".join(f"<tr><td>/{name}/</td><td>{received.get(name, 0)}</td></tr>" for name in services)
    listed = "".join(
        f"<tr><td>{market}</td><td>{escape(', '.join(names))}</td></tr>" for market, names in symbols.items()
    )
    chat = "".join(_bubble(message) for message in messages) or "<p>No message yet.</p>"
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><meta http-equiv='refresh' content='5'>"
        f"<title>autotrader sandbox</title><style>{_STYLE}</style></head><body><h1>autotrader sandbox</h1>"
        f"<p>No venue, bot or collector is behind this address; candles are {source}.</p>"
        f"<table><tr><th>service</th><th>requests</th></tr>{rows}</table>"
        f"<p>{summary['spans']} spans, {summary['metrics']} metrics, {summary['logs']} log records, "
        f"{summary['telegram_messages']} Telegram messages</p>"
        f"<table>{listed}</table><h2>Telegram</h2>{chat}</body></html>"
    )


def _bubble(message: Message) -> str:
    at = datetime.fromtimestamp(message.at, UTC)
    edited = f", edited {len(message.edits)}×" if message.edits else ""
    head = f"{at:%H:%M:%S} UTC, chat {message.chat_id}{edited}"
    return f"<div class='message'><small>{escape(head)}</small>{escape(message.text)}</div>"
