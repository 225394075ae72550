"""Stored candles through the pipeline that trades live, on the workers, and what it would have come to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from settings import check_market

app = typer.Typer()


@app.command()
def replay(
    market: Annotated[str, typer.Option(help="upbit, kis or yfinance")],
    start: Annotated[str, typer.Option("--from", metavar="DATE", help="first day, such as 2025-03-02")] = "",
    end: Annotated[str, typer.Option("--to", metavar="DATE", help="last day, included")] = "",
    candles: Annotated[
        Path | None, typer.Option(help="recorded candles: DIR/{upbit,kis,yfinance}/SYMBOL.1d.csv, .60m.csv")
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulated", help="candles of a random walk, by --seed")] = False,
    symbols: Annotated[str, typer.Option(help="some: A,B; without it all of DIR, or those of the settings")] = "",
    cash: Annotated[str, typer.Option(help="what all accounts together begin with; else PAPER_CASH_*")] = "",
    seed: Annotated[int, typer.Option(help="of simulated candles and of every id; the same gives the same")] = 1,
    analyst: Annotated[str, typer.Option(help="rules, or llm, which costs money")] = "rules",
    local: Annotated[bool, typer.Option("--local", help="with servers and workers of its own")] = False,
    workers: Annotated[int, typer.Option(help="how many, with --local", min=1, max=16)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.png", help="draw the equity curve")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="leave its rows, in database schemas of their own")] = False,
) -> None:
    """Replay the past: the live pipeline on old candles, on paper; nothing real is touched."""
    check_market(market)
    from cli.replaying import Options, run

    options = Options(
        market=market,
        start=start,
        end=end,
        candles=candles,
        simulated=simulate,
        symbols=tuple(dict.fromkeys(part.strip() for part in symbols.split(",") if part.strip())),
        cash=cash,
        seed=seed,
        analyst=analyst,
        local=local,
        workers=workers,
        as_json=as_json,
        picture=picture,
        keep=keep,
    )
    sys.exit(run(options))
