"""Language models that may not be asked for a while."""

from __future__ import annotations

from operate.errors import CannotAnswer, of_redis
from operate.fault_words import fault_words
from operate.view_words import view_words
from settings import Settings
from storage.redis import RedisUnavailable, check_redis, open_redis


async def show_models(settings: Settings, clear: bool) -> str:
    """Which language models are closed for which key (by its hash), and until when; `clear` opens them all."""
    from workers.llm.blocks import Blocks

    redis = open_redis(settings.redis_url)
    blocks = Blocks(redis)
    try:
        await check_redis(redis, settings.redis_url)
        opened = await blocks.clear() if clear else 0
        closed = await blocks.listed()
    except RedisUnavailable as error:
        raise CannotAnswer(of_redis(fault_words(settings.notify_language), error)) from None
    finally:
        await redis.aclose()
    told = view_words(settings.notify_language)
    lines = [told.opened.format(n=opened)] if clear else []
    lines += [
        told.closed.format(model=block.model, key=block.key, reason=block.reason, seconds=f"{block.seconds:.0f}")
        for block in closed
    ]
    return "\n".join(lines) or told.all_open
