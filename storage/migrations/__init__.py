"""The schema, step by step: `versions/` in order, `env.py` as Alembic runs it."""
