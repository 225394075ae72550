"""The chats as a person sees them in Telegram: every chat a column, the newest message at the bottom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from html import escape

from sandbox.telegram.chats import chat
from sandbox.telegram.markings import marked
from sandbox.telegram.messages import Message, Written

# Korea has had no daylight saving time since 1988
KST = timezone(timedelta(hours=9), "KST")
SHOWN_PER_CHAT = 100

STYLE = """
.chats { display: flex; gap: 16px; align-items: stretch; flex-wrap: wrap }
.chat { flex: 1 1 0; min-width: 330px; background: #c9dcc0; border-radius: 12px; overflow: hidden; display: flex;
  flex-direction: column }
.chat header { background: #fff; padding: 9px 14px; display: flex; gap: 10px; align-items: center;
  border-bottom: 1px solid #dfe3e7 }
.chat header i { width: 36px; height: 36px; border-radius: 50%; background: #4a9ce4; color: #fff; display: grid;
  place-items: center; font-size: 16px; font-weight: 600; font-style: normal }
.chat header b { display: block; font-size: 15px } .chat header small { color: #758391; font-size: 12px }
.log { padding: 10px 12px; flex: 1; overflow-y: auto }
.day { text-align: center; margin: 4px 0 8px } .day span, .toast span { background: #0003; color: #fff;
  border-radius: 10px; padding: 2px 9px; font-size: 12px }
.toast { text-align: center; margin: -2px 0 8px }
.bubble { width: fit-content; max-width: min(100%, 480px); min-width: 150px; margin: 0 0 8px; break-inside: avoid }
.bubble.mine { margin-left: auto }
.body { background: #fff; border-radius: 12px; overflow: hidden; box-shadow: 0 1px 1px #0002 }
.mine .body { background: #e4fdd0 }
.body img { display: block; width: 100% }
.text { padding: 6px 11px 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 14px; line-height: 1.42 }
.text pre, .text code { font: 12px/1.45 "Noto Sans Mono", "D2Coding", "Noto Sans Mono CJK KR", monospace;
  color: #3b5f7d }
.text pre { background: #eef3f8; border-left: 3px solid #7ba7cf; border-radius: 4px; padding: 5px 8px; margin: 2px 0;
  white-space: pre-wrap; overflow-wrap: anywhere }
.text blockquote { margin: 2px 0; padding: 2px 8px; border-left: 3px solid #7ba7cf; background: #f3f7fb;
  border-radius: 4px }
.text a, .link { color: #2b7cc4; text-decoration: none } .spoiler { background: #bbb; color: transparent }
.who { padding: 5px 11px 0; color: #2b7cc4; font-size: 12.5px; font-weight: 600 }
.when { text-align: right; color: #8a97a3; font-size: 11.5px; padding: 0 11px 5px }
.mine .when { color: #62a55c }
.buttons div { display: flex; gap: 3px; margin-top: 3px }
.buttons button, .buttons a { flex: 1; border: 0; border-radius: 8px; background: #4d6b4899; color: #fff;
  padding: 7px 6px; font-family: inherit; font-size: 13.5px; line-height: 1.3; font-weight: 500; text-align: center;
  text-decoration: none; cursor: pointer; position: relative }
.buttons a::after { content: "↗"; position: absolute; right: 6px; top: 2px; font-size: 10px }
.chat form { display: flex; gap: 8px; background: #fff; padding: 8px 12px; border-top: 1px solid #dfe3e7 }
.chat form input { flex: 1; border: 0; outline: 0; font-family: inherit; font-size: 14px }
.chat form button { border: 0; background: none; color: #2b7cc4; font: inherit; font-weight: 600;
  cursor: pointer }
.sheet { flex-direction: column } .sheet .chat { flex: none } .sheet form { display: none }
.sheet .log { column-gap: 14px } .sheet .bubble { width: 100%; max-width: none }
"""

# Loads the page again and exchanges what has changed, so that nobody loses the place or what is being typed.
SCRIPT = """
const bottom = log => { log.scrollTop = log.scrollHeight };
const send = (path, body) => fetch('/control/telegram/' + path,
  {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
async function refresh() {
  try {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), 'text/html');
    for (const part of document.querySelectorAll('[data-part]')) {
      const next = page.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!next || next.innerHTML === part.innerHTML) continue;
      const atEnd = part.scrollTop + part.clientHeight > part.scrollHeight - 40;
      part.innerHTML = next.innerHTML;
      if (atEnd) bottom(part);
    }
    if (page.querySelectorAll('[data-part]').length > document.querySelectorAll('[data-part]').length)
      location.reload();
  } catch { /* the sandbox was stopped; it may come back */ }
}
document.querySelectorAll('.log').forEach(bottom);
document.addEventListener('click', async event => {
  const button = event.target.closest('button[data-label]');
  if (!button) return;
  await send('presses', {chat_id: +button.dataset.chat, message_id: +button.dataset.message,
    label: button.dataset.label});
  setTimeout(refresh, 300);
});
document.addEventListener('submit', async event => {
  event.preventDefault();
  const input = event.target.querySelector('input');
  if (!input.value.trim()) return;
  await send('updates', {chat_id: +event.target.dataset.chat, text: input.value});
  input.value = '';
  refresh();
});
setInterval(refresh, 2000);
"""


def chats(
    messages: Iterable[Message | Written], titles: Mapping[int | str, str], columns: int = 0, only: str = ""
) -> str:
    """The chats as HTML, those first that were used first; `titles` names some of them. With `columns` all of a chat is
    shown at once in so many columns, for a picture; `only` is the id of a chat to show alone."""
    by_chat: dict[int | str, list[Message | Written]] = {}
    for message in messages:
        if only in ("", str(message.chat_id)):
            by_chat.setdefault(message.chat_id, []).append(message)
    if not by_chat:
        return "<p data-part='chats'>No message yet.</p>"
    shown = "".join(
        _chat(chat_id, titles.get(chat_id, ""), told[-SHOWN_PER_CHAT:], columns) for chat_id, told in by_chat.items()
    )
    return f"<div class='chats{' sheet' if columns else ''}'>{shown}</div>"


def _chat(chat_id: int | str, title: str, messages: Sequence[Message | Written], columns: int) -> str:
    about = chat(chat_id)
    name = title or str(about.get("title") or about.get("first_name") or chat_id)
    parts, day = [], ""
    for message in messages:
        if (today := f"{datetime.fromtimestamp(message.at, KST):%Y-%m-%d}") != day:
            day = today
            parts.append(f"<div class='day'><span>{day}</span></div>")
        parts.append(_written(message) if isinstance(message, Written) else _sent(message))
    layout = f" style='column-count: {columns}'" if columns else ""
    label, key = escape(name), escape(str(chat_id), quote=True)
    return (
        f"<section class='chat'><header><i>{label[:1]}</i><div><b>{label}</b><small>{about['type']} · {key}</small>"
        f"</div></header><div class='log' data-part='chat{key}'{layout}>{''.join(parts)}</div>"
        f"<form data-chat='{key}'><input placeholder='Message the bot' aria-label='message'>"
        "<button>Send</button></form></section>"
    )


def _sent(message: Message) -> str:
    picture = (
        f"<img alt='' src='/control/telegram/photos/{escape(message.photo, quote=True)}'>" if message.photo else ""
    )
    edited = "edited " if message.edits else ""
    text = f"<div class='text'>{marked(message.text, message.entities)}</div>" if message.text else ""
    when = f"<div class='when'>{edited}{_clock(message.at)}</div>"
    return f"<div class='bubble'><div class='body'>{picture}{text}{when}</div>{_buttons(message)}</div>" + "".join(
        f"<div class='toast'><span>{escape(answer['label'])}: {escape(answer['text'])}</span></div>"
        for answer in message.answers
        if answer["text"]
    )


def _written(message: Written) -> str:
    who = message.username or (str(message.user_id) if message.chat_id < 0 else "")
    name = f"<div class='who'>{escape(who)}</div>" if who else ""
    text = f"<div class='text'>{marked(message.text, message.entities)}</div>"
    when = f"<div class='when'>{_clock(message.at)}</div>"
    return f"<div class='bubble mine'><div class='body'>{name}{text}{when}</div></div>"


def _buttons(message: Message) -> str:
    rows = (message.reply_markup or {}).get("inline_keyboard", ())
    if not rows:
        return ""
    shown = "".join(f"<div>{''.join(_button(message, button) for button in row)}</div>" for row in rows)
    return f"<div class='buttons'>{shown}</div>"


def _button(message: Message, button: dict[str, str]) -> str:
    label = escape(button["text"], quote=True)
    if "url" in button:
        return f"<a rel='noreferrer' href='{escape(button['url'], quote=True)}'>{label}</a>"
    where = f"data-chat='{escape(str(message.chat_id), quote=True)}' data-message='{message.message_id}'"
    return f"<button {where} data-label='{label}'>{label}</button>"


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, KST):%H:%M}"
