"""Follow a sweep: its task opens a run and ends at once, the run's symbols are what takes time."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import typer

from cli.progress import Ending, Row, State, follow, watch
from cli.words import FollowWords, follow_words
from operate import RunProgress, SymbolProgress, database, run_progress
from settings import Settings
from storage import reading
from telemetry.redaction import redact, secret_values

_STATES = {"pending": State.WAITING, "running": State.RUNNING, "done": State.DONE, "failed": State.FAILED}


async def follow_sweep(settings: Settings, market: str, task_id: str, patience: float) -> None:
    """Show how far the sweep and its run are, and sum it up on stdout.

    Exits with 1 where the sweep or a symbol of it failed, or has not ended within `patience` seconds.
    """
    words = follow_words(settings.notify_language)
    title = words.publishing.format(market=market)
    sweep = (await follow({market: task_id}, title=title, patience=patience))[market]
    if not sweep.ended:
        sys.exit(f"autotrader: {words.not_ended.format(left=market, market=market)}")
    if sweep.state != "SUCCESS":
        sys.exit(f"autotrader: {type(sweep.error).__name__}: {sweep.error}" if sweep.error else sweep.state)
    async with database(settings) as engine:
        match sweep.result:
            case {"outcome": "closed", "reason": reason}:
                typer.echo(words.closed.format(market=market, reason=reason))
                return
            case {"outcome": "duplicate", "slot": slot}:
                run_id = await reading.run_at(engine, market, datetime.fromisoformat(slot))
                typer.echo(words.swept_before.format(market=market, run=run_id))
            case {"run_id": text}:
                run_id = UUID(text)
            case _:
                run_id = None
        if run_id is None:
            return
        progress: RunProgress | None = None
        secrets = secret_values(settings)

        async def look() -> Sequence[Row]:
            nonlocal progress
            progress = await run_progress(engine, run_id)
            return [_row(symbol, words, secrets) for symbol in progress.symbols] if progress else []

        seen = await watch(look, title=words.sweep.format(market=market), patience=patience)
    done = sum(row.state is State.DONE for row in seen.rows)
    failed = len(seen.failed)
    typer.echo(words.summary.format(market=market, total=len(seen.rows), done=done, failed=failed, run=run_id))
    if seen.ending is not Ending.COMPLETE:
        left = ", ".join(row.label for row in seen.left)
        sys.exit(f"autotrader: {words.not_ended.format(left=left, market=market)}")
    if failed:
        sys.exit("\n".join(f"autotrader: {row.label}: {row.says}" for row in seen.failed))


def _row(symbol: SymbolProgress, words: FollowWords, secrets: Collection[str]) -> Row:
    # an error's text is somebody else's
    says = words.step(symbol.step) or symbol.outcome or redact(symbol.error, secrets)
    return Row(symbol.symbol, _STATES[symbol.state], symbol.percent, says)
