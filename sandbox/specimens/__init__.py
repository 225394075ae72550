"""One of each kind of message, with figures as they could be, sent by the real notifier to the Bot API stand-in."""
