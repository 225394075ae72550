"""The rules of trading. Pure: no Celery, Redis, HTTP or SQL is imported below this package."""
