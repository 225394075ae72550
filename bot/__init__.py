"""The Telegram bot: what the people who are allowed may ask and order. It runs inside the notifier."""
