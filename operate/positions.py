"""What the accounts hold."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncEngine

from operate.connections import database
from operate.errors import CannotAnswer
from operate.fault_words import fault_words
from operate.texts import money
from operate.view_words import ViewWords, view_words
from settings import MARKETS, Settings
from storage import analyses, trades
from storage.redis import open_redis
from trading.types import Holdings


@dataclass(frozen=True, slots=True)
class Valued:
    """A position at the price of the symbol's last analysis, None where there was none; in the account's currency."""

    symbol: str
    quantity: Decimal
    average_price: Decimal
    price: Decimal | None

    @property
    def worth(self) -> Decimal | None:
        return None if self.price is None else self.quantity * self.price

    @property
    def profit(self) -> Decimal | None:
        return None if self.worth is None else self.worth - self.quantity * self.average_price


@dataclass(frozen=True, slots=True)
class Difference:
    """The account holds another quantity of an enabled symbol than our own fills come to."""

    symbol: str
    held: Decimal
    filled: Decimal


@dataclass(frozen=True, slots=True)
class AccountView:
    """What a market's account holds; `live` is whether with real money."""

    market: str
    live: bool
    currency: str
    cash: Decimal
    positions: tuple[Valued, ...]
    differences: tuple[Difference, ...]


async def show_positions(settings: Settings) -> str:
    """Cash and positions of every account, valued at the last analysis."""
    told = view_words(settings.notify_language)
    lines = []
    async with database(settings) as engine:
        for view in await accounts_held(settings, engine):
            mode = told.modes["live" if view.live else "paper"]
            lines.append(told.cash.format(market=view.market, mode=mode, cash=money(view.cash), currency=view.currency))
            lines += [
                told.difference.format(symbol=row.symbol, held=row.held, filled=row.filled) for row in view.differences
            ]
            lines += [_position(told, view.currency, position) for position in view.positions]
    return "\n".join(lines) or told.no_accounts


def _position(told: ViewWords, currency: str, position: Valued) -> str:
    if position.worth is None or position.profit is None:
        return told.never_analysed.format(symbol=position.symbol, quantity=position.quantity)
    return told.position.format(
        symbol=position.symbol,
        quantity=position.quantity,
        average=money(position.average_price),
        worth=money(position.worth),
        profit=f"{position.profit:+,.0f}",
        currency=currency,
    )


async def accounts_held(settings: Settings, engine: AsyncEngine) -> list[AccountView]:
    """Every account that was used. Raises `CannotAnswer` where a venue does not tell."""
    views = []
    for market in MARKETS:
        held = await _holdings(settings, engine, market)
        if held is None:
            continue
        prices = await analyses.last_prices(engine, market)
        positions = tuple(
            Valued(symbol, position.quantity, position.average_price, prices.get(symbol))
            for symbol, position in held.positions.items()
        )
        differences = await _differences(settings, engine, market, held)
        views.append(AccountView(market, settings.live(market), held.currency, held.cash, positions, differences))
    return views


async def _differences(settings: Settings, engine: AsyncEngine, market: str, held: Holdings) -> tuple[Difference, ...]:
    """Where the account holds something else of an enabled symbol than our own fills come to: somebody traded by
    hand, or held it before."""
    ours = await trades.net_units(engine, market)
    found = []
    for symbol in settings.symbols(market):
        position = held.positions.get(symbol)
        holds, filled = position.quantity if position else Decimal(0), ours.get(symbol, Decimal(0))
        if holds != filled:
            found.append(Difference(symbol, holds, filled))
    return tuple(found)


async def _holdings(settings: Settings, engine: AsyncEngine, market: str) -> Holdings | None:
    """What the market's account holds: asked of the venue where it trades live."""
    # only who asks for it carries the venues' clients
    from workers.errors import VenueError
    from workers.http import open_session
    from workers.limits import Limiter
    from workers.markets import open_broker
    from workers.paper.broker import PaperBroker

    if not settings.live(market):
        return await PaperBroker(engine, market, opening_cash={}).holdings()
    redis = open_redis(settings.redis_url)
    http = open_session(settings.http_timeout_seconds, limiter=Limiter(redis))
    try:
        return await open_broker(market, session=http, redis=redis, engine=engine, settings=settings).holdings()
    except VenueError as error:
        told = fault_words(settings.notify_language)
        why = told.venues.get(type(error).__name__, told.venues["VenueError"])
        raise CannotAnswer(told.venue.format(market=market, why=why, reason=error)) from None
    finally:
        await http.close()
        await redis.aclose()
