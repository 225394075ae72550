"""The Celery application: `celery -A tasks worker -P threads -Q upbit`."""

from tasks.app import app as celery

__all__ = ["celery"]
