from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator

from settings.declaring import CELERY, OPERATING, WORKER, setting


class StateSettings(BaseModel):
    """Where the state lives"""

    model_config = ConfigDict(defer_build=True)

    redis_url: str = setting(
        "redis://127.0.0.1:6379/0",
        "Redis holds the task queues, the beat's schedule, the leases and the alert queue. It should run with "
        "maxmemory-policy noeviction and with AOF; the doctor says when it does not.",
        by=CELERY,
        form="redis://, rediss:// or unix://",
    )
    database_url: str = setting(
        "postgresql+asyncpg://autotrader@127.0.0.1:5432/autotrader",
        "PostgreSQL holds runs, analyses, orders, fills and accounts. Paper and live trading need one each.",
        by=(*WORKER, *OPERATING),
        form="postgresql+asyncpg://",
        example="postgresql+asyncpg://autotrader:password@127.0.0.1:5432/autotrader",
    )
    celery_broker_url: str = setting(
        "",
        "Where the task queues are, if not at REDIS_URL.",
        by=CELERY,
        form="redis://127.0.0.1:6379/1 or amqp://user:password@127.0.0.1//",
        commented=True,
    )
    celery_result_backend: str = setting(
        "",
        "Where the results of tasks are kept, if not at REDIS_URL.",
        by=CELERY,
        form="redis://127.0.0.1:6379/1",
        commented=True,
    )

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://, for example redis://127.0.0.1:6379/0")
        return value

    @field_validator("database_url")
    @classmethod
    def _asyncpg(cls, value: str) -> str:
        if not value.startswith("postgresql+asyncpg://"):
            raise ValueError("must start with postgresql+asyncpg://, for example postgresql+asyncpg://user@host/db")
        return value

    @property
    def broker_url(self) -> str:
        return self.celery_broker_url or self.redis_url

    @property
    def result_backend(self) -> str:
        return self.celery_result_backend or self.redis_url
