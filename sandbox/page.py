"""The pages a person sees at the sandbox's address: its services and what they received, and the chats."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from aiohttp import web

from sandbox.telegram.messages import Message, Written
from sandbox.telegram.page import SCRIPT, STYLE, chats

_STYLE = """
body { font: 15px/1.45 "Noto Sans KR", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic", system-ui,
  sans-serif; max-width: 1320px; margin: 0 auto; padding: 20px; color: #1c2329 }
h1 { margin: 0 0 4px; font-size: 24px } h2 { margin: 22px 0 10px; font-size: 19px } p { margin: 0 0 10px }
table { border-collapse: collapse } td, th { padding: 2px 20px 2px 0; text-align: left; vertical-align: top }
.received { display: flex; gap: 50px; flex-wrap: wrap }
.chats:not(.sheet) .log { height: 70vh }
"""
# Nothing but this page's own script runs in it, whatever a message says.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)


def overview(
    services: Sequence[str], source: str, symbols: Mapping[str, Sequence[str]], summary: Mapping[str, Any],
    messages: Iterable[Message | Written], titles: Mapping[int | str, str],
) -> web.Response:  # fmt: skip
    """The services with what they received, and the chats."""
    received = summary["requests"]
    rows = "".join(f"<tr><td>/{name}/</td><td>{received.get(name, 0)}</td></tr>" for name in services)
    listed = "".join(
        f"<tr><td>{market}</td><td>{escape(', '.join(names))}</td></tr>" for market, names in symbols.items()
    )
    return _page(
        "<h1>autotrader sandbox</h1>"
        f"<p>No venue, bot or collector is behind this address; candles are {escape(source)}.</p>"
        f"<div class='received' data-part='received'><table><tr><th>service</th><th>requests</th></tr>{rows}</table>"
        f"<div><table>{listed}</table><p><br>{summary['spans']} spans, {summary['metrics']} metrics, "
        f"{summary['logs']} log records, {summary['telegram_messages']} Telegram messages</p></div></div>"
        f"<h2>Telegram</h2>{chats(messages, titles)}"
    )


def only_chats(
    messages: Iterable[Message | Written], titles: Mapping[int | str, str], columns: int, only: str
) -> web.Response:
    """The chats alone; see `sandbox.telegram.page.chats`."""
    return _page(chats(messages, titles, columns, only))


def _page(body: str) -> web.Response:
    nonce = secrets.token_urlsafe(12)
    text = (
        "<!DOCTYPE html><html lang='ko'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>autotrader sandbox</title><style>{_STYLE}{STYLE}</style></head><body>{body}"
        f"<script nonce='{nonce}'>{SCRIPT}</script></body></html>"
    )
    policy = {"Content-Security-Policy": _POLICY.format(nonce=nonce)}
    return web.Response(text=text, content_type="text/html", headers=policy)
