"""The picture of a replay."""

from __future__ import annotations

from cli.replay_report import Report


def drawn(report: Report) -> bytes:
    """The curve of all its accounts against buying and keeping, as PNG."""
    # Pillow is for those who draw
    from charts import replay

    names = [line.symbol for line in report.lines]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    chart = replay.ReplayChart(
        title=f"Replay of {report.market}, {report.start} to {report.end}",
        subtitle=f"{shown} - {report.source} candles - paper, {report.currency}",
        cash=report.all.cash,
        account=report.worth,
        kept=report.held,
    )
    return replay.draw(chart)
