"""How everything is traded in a chaos run: as often and as much as the analyses say, so that orders flow."""

from __future__ import annotations

import json
from pathlib import Path

SETTINGS = {
    "all": {
        "levels": 3,
        "level_value": "400000",
        "averaging_rule": False,
        # sold at any price from the analysis
        "sell_margin": "-0.5",
        # exits would be orders of no run
        "stop_loss_rate": None,
        "take_profit_rate": None,
        "min_interval": "0s",
        "max_trades_per_day": 1_000_000,
        "max_position_share": "1",
        "min_confidence": 0,
    },
    "account": {"daily_loss": None, "weekly_loss": None},
}


def write(file: Path) -> None:
    """Write the strategy file."""
    file.write_text(json.dumps(SETTINGS), encoding="utf-8")
