"""What a replay came to: a table, one JSON object, a picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.replay_words import ReplayWords
from replay.figures import Curve, Figures, figures, kept, summed, together, trades_of
from replay.terms import CURRENCIES

if TYPE_CHECKING:
    from tasks.replays import Asked, Course

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Line:
    """One symbol's part in it; the curves are the account's worth, and what was bought and kept, at each close."""

    symbol: str
    figures: Figures
    worth: Curve
    held: Curve
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything there is to say of a replay. `took` is all of it that differs from one time to the next."""

    market: str
    start: date
    end: date
    seed: int
    analyst: str
    source: str
    share: Decimal
    lines: Sequence[Line]
    all: Figures
    worth: Curve
    held: Curve
    took: Mapping[str, Any]
    schemas: Sequence[str] = ()

    @classmethod
    def of(cls, asked: Asked, *, source: str, seconds: float, courses: Sequence[Course]) -> Report:
        """The report of a replay whose symbols have all come to their last day."""
        lines = [_line(asked, course) for course in courses]
        cash = {line.symbol: asked.share for line in lines}
        worth = summed({line.symbol: line.worth for line in lines}, cash)
        held = summed({line.symbol: line.held for line in lines}, cash)
        workers: dict[str, int] = {}
        for course in courses:
            for worker, days in course.days_by_worker.items():
                workers[worker] = workers.get(worker, 0) + days
        took = {
            "seconds": round(seconds, 3),
            "days": sum(len(line.worth) for line in lines),
            "parts": sum(course.parts for course in courses),
            "days_by_worker": dict(sorted(workers.items())),
        }
        return cls(
            market=asked.market,
            start=asked.plan.start,
            end=asked.plan.end,
            seed=asked.seed,
            analyst=asked.analyst,
            source=source,
            share=asked.share,
            lines=lines,
            all=together([line.figures for line in lines], worth, held),
            worth=worth,
            held=held,
            took=took,
            schemas=[course.schema for course in courses] if asked.keep else (),
        )

    @property
    def currency(self) -> str:
        return CURRENCIES[self.market]

    def as_json(self) -> dict[str, Any]:
        """One object; money is text, exact to a hundredth, rates are percent. Only `took` differs between two replays
        of the same."""
        return {
            "market": self.market,
            "currency": self.currency,
            "from": self.start.isoformat(),
            "to": self.end.isoformat(),
            "candles": self.source,
            "analyst": self.analyst,
            "seed": self.seed,
            "symbols": [
                {
                    "symbol": line.symbol,
                    "days": len(line.worth),
                    **_figures(line.figures),
                    **{name: dict(line.told[name]) for name in ("decisions", "outcomes", "exits")},
                    "fills": [
                        dict(zip(("at", "side", "quantity", "price", "fee"), fill, strict=True))
                        for fill in line.told["fills"]
                    ],
                    "equity": _curves(line.worth, line.held),
                }
                for line in self.lines
            ],
            "together": {**_figures(self.all), "equity": _curves(self.worth, self.held)},
            "took": dict(self.took),
        }


def print_report(report: Report, words: ReplayWords, *, as_json: bool, picture: Path | None) -> None:
    """The report on stdout, and its picture in a file. Raises `OSError` where that cannot be written."""
    if picture is not None:
        from cli.replay_picture import drawn

        picture.write_bytes(drawn(report))
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
        return
    _table(report, words)
    for line in _notes(report, words, picture):
        typer.echo(line)


def _line(asked: Asked, course: Course) -> Line:
    told = course.told or {}
    symbol, span = course.symbol, course.span
    worth = [(date.fromisoformat(day), Decimal(value)) for day, value in course.worth]
    candles = asked.series[symbol].daily[span.first : span.last + 1]
    held = kept(asked.market, symbol, asked.share, candles)
    trades = trades_of(asked.market, symbol, CURRENCIES[asked.market], told["fills"])
    return Line(symbol, figures(asked.share, worth, held, trades, symbol), worth, held, told)


def _table(report: Report, words: ReplayWords) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = words.title.format(
        market=report.market,
        start=report.start,
        end=report.end,
        cash=_money(report.all.cash),
        share=_money(report.share),
        currency=report.currency,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(words.headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for line in report.lines:
        table.add_row(*_cells(line.symbol, len(line.worth), line.figures, words))
    if len(report.lines) > 1:
        table.add_section()
        table.add_row(*_cells(words.together, len(report.worth), report.all, words))
    # as wide as it needs, also where stdout is a file
    console = Console(file=sys.stdout, width=max(100, Console().width), highlight=False)
    console.print(title, soft_wrap=True)
    console.print(table)


def _cells(name: str, days: int, of: Figures, words: ReplayWords) -> tuple[str, ...]:
    wins = words.none if of.win_rate is None else f"{of.win_rate:.0%} ({of.wins}/{of.round_trips})"
    return (
        name,
        str(days),
        f"{of.change:+.2%}",
        f"{of.hold_change:+.2%}",
        f"{of.drawdown:.2%}",
        f"{of.hold_drawdown:.2%}",
        str(of.trades),
        wins,
        _money(of.fees),
    )


def _notes(report: Report, words: ReplayWords, picture: Path | None) -> list[str]:
    notes = []
    if report.all.tax:
        notes.append(words.taxes.format(tax=_money(report.all.tax), currency=report.currency))
    seconds, days = report.took["seconds"], report.took["days"]
    workers = ", ".join(f"{name} {count}" for name, count in report.took["days_by_worker"].items())
    notes.append(words.took.format(days=days, seconds=seconds, rate=days / max(seconds, 0.001), workers=workers))
    if report.schemas:
        notes.append(words.kept.format(schemas=", ".join(report.schemas)))
    if picture is not None:
        notes.append(words.picture.format(path=picture))
    return notes


def _figures(of: Figures) -> dict[str, Any]:
    return {
        "cash": _text(of.cash),
        "final": _text(of.final),
        "return_percent": _percent(of.change),
        "trades": of.trades,
        "round_trips": of.round_trips,
        "win_rate_percent": None if of.win_rate is None else _percent(of.win_rate),
        "max_drawdown_percent": _percent(of.drawdown),
        "fees": _text(of.fees),
        "tax_not_taken_off": _text(of.tax),
        "hold": {
            "final": _text(of.hold),
            "return_percent": _percent(of.hold_change),
            "max_drawdown_percent": _percent(of.hold_drawdown),
        },
    }


def _curves(worth: Curve, held: Curve) -> list[list[str]]:
    return [[day.isoformat(), _text(value), _text(other)] for (day, value), (_, other) in zip(worth, held, strict=True)]


def _text(value: Decimal) -> str:
    return f"{value.quantize(CENT):f}"


def _percent(rate: Decimal) -> float:
    return float((rate * 100).quantize(CENT))


def _money(value: Decimal) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.2f}"
