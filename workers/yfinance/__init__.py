"""yfinance."""
