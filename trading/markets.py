"""What is traded in each market, in the seeds' words: they name taxes, tags of metrics and lines of messages."""

from __future__ import annotations

ASSET_TYPES = {"upbit": "crypto", "kis": "equity_kr", "yfinance": "equity_us"}
