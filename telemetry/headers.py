"""The headers of ours that a task's message carries; also for those who read messages without Celery."""

from __future__ import annotations

# When a message was published, as Unix seconds; Celery carries no such time itself.
SENT_AT = "x_sent_at"
