"""Whether orders may be sent: read it, halt, resume."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from api.asked import Market, printable
from api.models import Armed, Changed, StateRow, TradingStates
from api.resources import Resources, Using
from operate import change_trading_state
from operate.states import take_back
from settings import MARKETS
from storage import armings, trading_states
from telemetry.redaction import redact, secret_values
from trading.state import State, TradingState

router = APIRouter(tags=["trading"])

BY = "api"
# a shorter one is over before it is written
SHORTEST_HALT_HOURS, LONGEST_HALT_HOURS = 0.01, 24 * 366

Line = Annotated[str, AfterValidator(printable)]


class Scope(BaseModel):
    """Everything without `market`, a whole market without `symbol`."""

    model_config = ConfigDict(extra="forbid")

    market: Market | None = None
    symbol: Annotated[Line, Field(min_length=1, max_length=40)] | None = None

    @model_validator(mode="after")
    def _together(self) -> Scope:
        if self.symbol is not None and self.market is None:
            raise ValueError("a symbol needs its market")
        return self


class Halt(Scope):
    """`hours` until it ends by itself, without it until resumed. `reduce` still allows what only reduces holdings."""

    reason: Annotated[Line, Field(min_length=1, max_length=300)]
    hours: Annotated[float, Field(ge=SHORTEST_HALT_HOURS, le=LONGEST_HALT_HOURS, allow_inf_nan=False)] | None = None
    reduce: bool = False

    @property
    def state(self) -> State:
        return State.REDUCING if self.reduce else State.HALTED

    def until(self) -> datetime | None:
        """When it ends, counted from now."""
        return datetime.now(UTC) + timedelta(hours=self.hours) if self.hours else None


class Resume(Scope):
    reason: Annotated[Line, Field(min_length=1, max_length=300)] = "resumed by the operator"


@router.get("/api/trading-state")
async def read_state(using: Using) -> TradingStates:
    """Where orders go, and what restricts them now."""
    now = datetime.now(UTC)
    return TradingStates(
        mode=using.settings.trading_mode,
        live={market: using.settings.live(market) for market in MARKETS},
        in_force=await _in_force(using, now),
        armed=[Armed.model_validate(row) for row in await armings.in_force(using.engine, now)],
    )


@router.post("/api/halt")
async def halt(asked: Halt, using: Using) -> Changed:
    """Stop ordering in a scope, as `autotrader halt` does. Analyses go on."""
    return await change(using, asked, asked.state, asked.reason, asked.until(), BY)


@router.post("/api/resume")
async def resume(asked: Resume, using: Using) -> Changed:
    """Take a halt of the same scope back, if there is one; one of a wider or a narrower scope still holds."""
    return await change(using, asked, State.ACTIVE, asked.reason, None, BY)


async def change(using: Resources, scope: Scope, state: State, reason: str, until: datetime | None, by: str) -> Changed:
    """Put a scope into a state, and tell it; `by` says who did. Where nothing is in force, `active` changes nothing.
    Raises `ApiError` for a symbol there is not."""
    symbol = scope.symbol
    if scope.market is not None and symbol is not None:
        symbol = await using.symbols.find_to_halt(scope.market, symbol)
    # the reason is kept, logged and told as it is
    row = TradingState(state, redact(reason, secret_values(using.settings)), until, scope.market, symbol)
    if state is State.ACTIVE:
        await take_back(using.engine, using.notifier, row, by)
    else:
        await change_trading_state(using.engine, using.notifier, row, by)
    return Changed(changed=StateRow.of(row), in_force=await _in_force(using, datetime.now(UTC)))


async def _in_force(using: Resources, now: datetime) -> list[StateRow]:
    return [StateRow.of(row) for row in await trading_states.in_force(using.engine, now)]
