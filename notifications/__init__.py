"""Alerts: recorded once in Redis by whoever has something to say, delivered to Telegram by one process."""
