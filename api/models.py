"""What the API answers. Money and quantities are decimal numbers as strings, exact; times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Self, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, PlainSerializer, WithJsonSchema

from storage.journal import JournalOrder
from storage.reading import Page
from trading.state import State, TradingState
from trading.types import Decision, OrderState, PriceRange, Side, TimeInForce

Amount = Annotated[
    Decimal,
    PlainSerializer(lambda value: f"{value:f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "examples": ["130000000"]}),
]


class Model(BaseModel):
    model_config = ConfigDict(from_attributes=True, extra="ignore")


M = TypeVar("M", bound=Model)


class Paged(BaseModel, Generic[M]):
    """One page, newest first; `total` counts all rows that meet the conditions."""

    items: list[M]
    total: int
    limit: int
    offset: int


class Range(Model):
    min: Amount
    max: Amount


class Started(Model):
    """An analysis that is queued; follow it at `/api/tasks/{task_id}`."""

    task_id: UUID
    run_id: UUID
    market: str
    symbol: str


class Progress(Model):
    """How far a run is; `percent` is of done and failed in all."""

    total: int
    done: int
    failed: int
    pending: int
    percent: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        done, failed, pending = int(row["done"]), int(row["failed"]), int(row["pending"])
        total = done + failed + pending
        percent = 100 * (done + failed) // total if total else 100
        return cls(total=total, done=done, failed=failed, pending=pending, percent=percent)


class TaskError(Model):
    type: str
    message: str


class RunningSymbol(Model):
    """A symbol that a worker is at; `percent` and `step` are what its task told last."""

    symbol: str
    task_id: UUID
    percent: int
    step: str


class FailedSymbol(Model):
    symbol: str
    task_id: UUID
    error: str


class TaskStatus(Model):
    """`state` is Celery's: PENDING, STARTED, PROGRESS (it told how far it is), RETRY, SUCCESS, FAILURE or REVOKED.

    `percent` is how far the task is, of a sweep how far its run is; `step` is what a running task is at. `run_id` and
    `market` are there for analyses and sweeps, and so is `progress`, which is that of the run; `symbol` for analyses;
    `running` and `failures` for sweeps. `result` is there once it ended well, `error` once it failed.
    """

    task_id: UUID
    state: str
    percent: int = 0
    step: str | None = None
    run_id: UUID | None = None
    market: str | None = None
    symbol: str | None = None
    progress: Progress | None = None
    running: list[RunningSymbol] = []
    failures: list[FailedSymbol] = []
    analysis_id: UUID | None = None
    result: JsonValue = None
    error: TaskError | None = None


class AnalysisRow(Model):
    """`outcome` says what came of it, `error` why nothing did; both are null while its task runs."""

    id: UUID
    run_id: UUID
    market: str
    symbol: str
    decision: Decision
    confidence: int
    reasons: list[str]
    price: Amount
    model: str
    rejected_by: str | None
    at: AwareDatetime
    trace_id: str | None
    outcome: str | None
    error: str | None


class FillRow(Model):
    trade_id: str
    quantity: Amount
    price: Amount
    fee: Amount
    at: AwareDatetime


class FillOfOrder(FillRow):
    """An execution; `fee` in `currency`."""

    order_id: UUID
    market: str
    symbol: str
    side: Side
    currency: str


class OrderRow(Model):
    """An order as it stands. It comes from an analysis, from an exit, or was `adopted` from the venue."""

    id: UUID
    client_order_id: str
    venue_order_id: str | None
    market: str
    symbol: str
    side: Side
    quantity: Amount
    filled_quantity: Amount
    price: Amount
    currency: str
    time_in_force: TimeInForce
    leg: int
    state: OrderState
    reason: str | None
    analysis_id: UUID | None
    run_id: UUID | None
    exit_id: UUID | None
    adopted: bool
    trace_id: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class OrderWithFills(OrderRow):
    fills: list[FillRow]

    @classmethod
    def of(cls, order: JournalOrder) -> Self:
        intent, origin = order.intent, order.origin
        return cls.model_validate(
            {
                **{name: getattr(intent, name) for name in ("client_order_id", "market", "symbol", "side", "quantity")},
                **{name: getattr(intent, name) for name in ("price", "currency", "time_in_force")},
                **{name: getattr(origin, name) for name in ("analysis_id", "run_id", "exit_id", "adopted")},
                **{name: getattr(order, name) for name in ("id", "venue_order_id", "filled_quantity", "leg", "state")},
                **{name: getattr(order, name) for name in ("reason", "trace_id", "created_at", "updated_at")},
                "fills": [FillRow.model_validate(fill) for fill in order.fills],
            }
        )


class AnalysisDetail(AnalysisRow):
    """An analysis with what it was made from and the orders it led to."""

    ranges: dict[str, Range]
    indicators: dict[str, JsonValue]
    orders: list[OrderWithFills]


class Position(Model):
    """`price` is that of the last analysis; where there was none, it, `worth` and `profit` are null."""

    symbol: str
    quantity: Amount
    average_price: Amount
    price: Amount | None
    worth: Amount | None
    profit: Amount | None


class HeldDifference(Model):
    """The account holds another quantity than our own fills come to."""

    symbol: str
    held: Amount
    filled: Amount


class HeldAccount(Model):
    market: str
    live: bool
    currency: str
    cash: Amount
    positions: list[Position]
    differences: list[HeldDifference]


class SnapshotRow(Model):
    """What an account was worth after a run."""

    run_id: UUID
    market: str
    currency: str
    cash: Amount
    positions_value: Amount
    total: Amount
    at: AwareDatetime


class ReportRow(Model):
    """The report of a day or a week from 09:00 KST, per market, in `body`."""

    period: str
    starts_at: AwareDatetime
    at: AwareDatetime
    body: dict[str, JsonValue]


class RunRow(Model):
    """`status` is opened, published, finished or skipped; `reason` says why it was skipped."""

    id: UUID
    market: str
    slot: AwareDatetime
    status: str
    reason: str | None
    trace_id: str | None
    opened_at: AwareDatetime
    finished_at: AwareDatetime | None
    progress: Progress

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls.model_validate({**row, "progress": Progress.of(row)})


class RunSymbol(Model):
    symbol: str
    state: str
    outcome: str | None
    error: str | None
    finished_at: AwareDatetime | None
    analysis_id: UUID | None


class RunDetail(RunRow):
    symbols: list[RunSymbol]


class StateRow(Model):
    """For everything without `market`, for a whole market without `symbol`; until it is taken back without `until`."""

    state: State
    reason: str
    market: str | None
    symbol: str | None
    until: AwareDatetime | None

    @classmethod
    def of(cls, row: TradingState) -> Self:
        return cls.model_validate(row)


class Armed(Model):
    market: str
    since: AwareDatetime
    until: AwareDatetime


class TradingStates(BaseModel):
    """`mode` is paper or live; `in_force` are the restrictions now, none where trading is active; `armed` are the
    markets whose real orders are allowed."""

    mode: str
    live: dict[str, bool]
    in_force: list[StateRow]
    armed: list[Armed]


class Changed(BaseModel):
    """The state that was set, and all restrictions that are in force now: a wider one still holds."""

    changed: StateRow
    in_force: list[StateRow]


class Alive(BaseModel):
    status: str = "ok"


class CheckResult(BaseModel):
    ready: bool
    says: str


class Ready(BaseModel):
    """`checks` is empty for whoever may not read."""

    ready: bool
    checks: dict[str, CheckResult] = {}


def range_of(bounds: PriceRange) -> Range:
    return Range.model_validate(bounds)


def paged(model: type[M], page: Page, limit: int, offset: int) -> dict[str, Any]:
    """A page of rows as `Paged[model]` takes it."""
    return {"items": rows(model, page.rows), "total": page.total, "limit": limit, "offset": offset}


def rows(model: type[M], found: Sequence[Mapping[str, Any]]) -> list[M]:
    return [model.model_validate(row) for row in found]
