"""What Upbit says of an order, as a placement: judged by what it traded, not by the name of its state."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from trading.types import Fill, OrderState, Placement
from workers.errors import BadReply
from workers.upbit.orders import plain
from workers.upbit.private_wire import OrderBody

FINAL_STATES = ("done", "cancel")
# the finest fee rate there is has four digits (0.0005, 0.00139), so what a division leaves behind is rounded off
RATE_STEP = Decimal("0.000001")
_ZERO = Decimal(0)


def placement(body: OrderBody) -> Placement:
    """Upbit's order as a placement.

    A `wait` that traded is partly filled, or filled if all of it did; a `cancel` that traded all of it is filled, as
    every market buy ends, and one that traded less is cancelled with its fills. Fills are told only when the trades
    sum up to `executed_volume`: until then the order is accepted, whatever its state is. Raises `BadReply` where more
    traded than was asked for, or the fee exceeds the value.
    """
    traded = sum((trade.volume for trade in body.trades or ()), _ZERO)
    ended = body.state in FINAL_STATES
    if traded != body.executed_volume:
        return Placement(body.uuid, OrderState.ACCEPTED)
    if body.volume is not None and traded > body.volume:
        raise BadReply(f"upbit order {body.market}: {traded} of {body.volume} traded; it is read again")
    whole = ended if body.volume is None else traded >= body.volume
    if traded and whole:
        return Placement(body.uuid, OrderState.FILLED, _fills(body))
    if ended:
        return Placement(body.uuid, OrderState.CANCELLED, _fills(body), _ending(body, traded))
    return Placement(body.uuid, OrderState.PARTLY_FILLED if traded else OrderState.ACCEPTED, _fills(body))


def _fills(body: OrderBody) -> tuple[Fill, ...]:
    """The trades, each with the fee of its own value at the order's rate, so that it never changes when others follow.

    The rate is the fee paid so far over the value traded so far: both grow together, because Upbit's fee is the value
    times the rate, unrounded (7394.19175 KRW at 0.0005 paid 3.697095875), and in a KRW market one rate holds for
    makers and takers (orders/chance). The parts then sum up to exactly `paid_fee`.
    """
    trades = body.trades or ()
    if not trades:
        return ()
    value = sum((trade.funds for trade in trades), _ZERO)
    if body.paid_fee > value:
        raise BadReply(f"upbit order {body.market}: a fee of {body.paid_fee} for a value of {value}; it is read again")
    rate = (body.paid_fee / value).quantize(RATE_STEP, ROUND_HALF_EVEN)
    return tuple(Fill(trade.uuid, trade.volume, trade.price, trade.funds * rate, trade.created_at) for trade in trades)


def _ending(body: OrderBody, traded: Decimal) -> str:
    if traded and body.volume is not None:
        return f"partly_filled: {plain(traded)} of {plain(body.volume)} traded, the rest is cancelled"
    if body.time_in_force == "ioc":
        return "not_crossed: Upbit cancelled it without a trade"
    return "not_traded: it was cancelled before anything traded"
