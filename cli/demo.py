"""The whole system on this machine, to look at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="one sweep of all three markets, then stop")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --once: print the result as one JSON object")] = False,
    candles: Annotated[
        Path | None, typer.Option(help="recorded candles: DIR/{upbit,kis,yfinance}/SYMBOL.1d.csv")
    ] = None,
    fail: Annotated[list[str] | None, typer.Option(help="let this symbol's venue time out; repeatable")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the simulated candles")] = None,
    feed: Annotated[str, typer.Option(help="auto, live or simulated")] = "auto",
) -> None:
    """Start everything on this machine and show it at work; Ctrl-C stops it all."""
    from sandbox.demo import run_demo

    sys.exit(run_demo(once=once, as_json=as_json, candles=candles, fail=fail or [], seed=seed, feed=feed))
