"""No new orders while a release is changed: the halt of a deployment, and its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from operate.connections import database, notifier_of
from operate.texts import when
from settings import Settings
from storage import holding
from trading.state import State, TradingState

# A deployment takes minutes; one that dies for good must not keep stop-losses from working for ever. Nobody is in a
# hurry: while its processes are stopped there is none whose stop-losses it could keep back.
LONGEST = timedelta(hours=12)
REASONS = {
    "ko": "배포 중입니다({deployment}). 끝나면 저절로 풀립니다",
    "en": "a release is being deployed ({deployment}); it ends by itself",
}
LIFTED = {"ko": "배포가 끝났습니다({deployment})", "en": "the deployment has ended ({deployment})"}


async def hold_orders(settings: Settings, deployment: str) -> str:
    """Order nothing until `lift_hold` of the same deployment, or `LONGEST`. Raises `CannotAnswer`."""
    by, now = f"{holding.HOLDER}{deployment}", datetime.now(UTC)
    reason, until = REASONS[settings.notify_language].format(deployment=deployment), now + LONGEST
    async with database(settings) as engine, notifier_of(settings) as notifier:
        held = await holding.hold(engine, reason, by=by, now=now, until=until)
        if held:
            await notifier.trading_state_changed(TradingState(State.HALTED, reason, until), by=by, at=now)
    return f"no new orders until {when(until)}" if held else "no new orders, as before"


async def lift_hold(settings: Settings, deployment: str) -> str:
    """Trade as before `hold_orders`; a state that somebody has set since stays. Raises `CannotAnswer`."""
    by, now = f"{holding.HOLDER}{deployment}", datetime.now(UTC)
    reason = LIFTED[settings.notify_language].format(deployment=deployment)
    async with database(settings) as engine, notifier_of(settings) as notifier:
        state = await holding.lift(engine, reason, by=by, now=now)
        if state is not None:
            await notifier.trading_state_changed(state, by=by, at=now)
    if state is None:
        return "the deployment holds nothing"
    return "orders are as before" if state.state is State.ACTIVE else f"{state.state}, as before: {state.reason}"
