"""The pictures of the guide show every kind of message there is, as the real notifier sends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from notifications.alert import Alert
from notifications.kinds import KINDS
from notifications.ledger import Ledger, Recorded
from sandbox.specimens.arrival import ERROR_CHAT, REPEATED, TRADE_CHAT, everything_told


async def test_every_kind_of_message_is_told_with_pictures_buttons_counts_and_a_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: set[str] = set()
    record = Ledger.record

    async def noted(ledger: Ledger, alert: Alert) -> Recorded | None:
        kinds.add(alert.kind)
        return await record(ledger, alert)

    monkeypatch.setattr(Ledger, "record", noted)
    async with everything_told(tmp_path) as sandbox:
        messages = sandbox.telegram.messages()
    # errors are recorded by the hook, and the end is told without the ledger
    assert set(KINDS) - kinds == {"error", "bot_stopped"}
    trade, error = ([one for one in messages if one["chat_id"] == chat] for chat in (TRADE_CHAT, ERROR_CHAT))
    assert len(trade) + len(error) == len(messages)
    assert "⏹️" in trade[-1]["text"]
    assert sum(bool(one["photo"]) for one in trade) == 2
    (counted,) = (one for one in error if f"×{REPEATED}" in one["text"])
    assert counted["edits"]
    assert counted["reply_markup"]["inline_keyboard"]
    assert any("🗂" in one["text"] for one in error)
