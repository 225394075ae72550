"""Alerts under fire: recorders and senders are killed, Redis restarted, and Telegram fails, all in one run."""
