"""Real Redis and PostgreSQL servers without root or Docker, which die with the process that started them."""

from sandbox.local.errors import LocalServerError, MissingServer
from sandbox.local.postgres import LocalPostgres
from sandbox.local.redis import LocalRedis

__all__ = ["LocalPostgres", "LocalRedis", "LocalServerError", "MissingServer"]
