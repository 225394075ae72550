"""The words of the desk, in Korean and English; those for sides, decisions and states are the ones of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeskWords:
    """One language. Sentences hold what they name in braces."""

    language: str
    title: str
    # the parts, by the last piece of their path
    parts: Mapping[str, str]
    markets: Mapping[str, str]
    processes: Mapping[str, str]
    # signing in
    login: str
    login_lead: str
    token: str
    enter: str
    wrong_token: str
    leave: str
    reads_only: str
    operates: str
    # trading
    trading: str
    paper: str
    armed: str
    unarmed: str
    active: str
    restricted: str
    everything: str
    until: str
    no_end: str
    halt: str
    resume: str
    analyze: str
    analyze_again: str
    scope: str
    market: str
    symbol: str
    symbol_hint: str
    reason: str
    hours: str
    hours_hint: str
    reduce: str
    check: str
    confirm_title: str
    confirm_lead: str
    confirm: str
    back: str
    done: Mapping[str, str]
    halt_says: Mapping[str, str]
    candidates: str
    # health
    health: str
    well: str
    sign: str
    no_sign: str
    start_it: str
    away: str
    all_well: str
    some_not: str
    no_redis: str
    no_database: str
    no_account: str
    # money
    today: str
    today_note: str
    change: str
    realised: str
    unrealised: str
    curve: str
    days: str
    no_today: str
    # analyses
    latest_analyses: str
    all_of_them: str
    decision: str
    confidence: str
    reasons: str
    price: str
    model: str
    at: str
    outcome: str
    in_progress: str
    failed: str
    details: str
    rejected_by: str
    no_analyses: str
    ranges: Mapping[str, str]
    indicators: str
    asked: str
    tokens_used: str
    prompt: str
    reply: str
    no_question: str
    orders_of_it: str
    no_orders_of_it: str
    ids: Mapping[str, str]
    candles_note: str
    no_candles: str
    outcomes: Mapping[str, str]
    any_market: str
    any_decision: str
    filter: str
    # orders and positions
    open_orders: str
    latest_orders: str
    no_open_orders: str
    no_orders: str
    side: str
    quantity: str
    limit: str
    fill_price: str
    comes_from: str
    filled: str
    state: str
    history: str
    fills: str
    fee: str
    origin: Mapping[str, str]
    cash: str
    average: str
    worth: str
    profit: str
    no_positions: str
    no_accounts: str
    differences: str
    difference: str
    # alerts
    waiting: str
    told: str
    told_note: str
    muted: str
    dead: str
    failed_symbols: str
    nothing: str
    times: str
    attempts: str
    new: str
    chats: Mapping[str, str]
    paused: str
    # runs
    latest_runs: str
    no_runs: str
    run: str
    done_of: str
    pending: str
    symbols: str
    took: str
    seconds: str
    # pages
    newer: str
    older: str
    of_all: str
    refreshed: str
    fault: str
    faults: Mapping[str, str]
    request: str
    confidence_range: str
    form_fault: str
