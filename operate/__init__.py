"""What an operator may ask and order, as text: the command line shows it, and a bot may too."""

from operate.alerts import show_dead_alerts, show_sent_alerts
from operate.analyses import Requested, analyze_now, explain, request_analysis
from operate.arming import LONGEST_ARMING, arm_market, disarm_market, keep_account
from operate.connections import database
from operate.daily import show_daily
from operate.errors import CannotAnswer
from operate.flatten import request_flatten
from operate.locks import show_locks, unlock
from operate.models import show_models
from operate.orders import show_orders
from operate.pnl import show_pnl
from operate.positions import AccountView, Difference, Valued, accounts_held, show_positions
from operate.progress import RunProgress, SymbolProgress, run_progress
from operate.states import change_trading_state, operator, pause, resume, set_trading_state
from operate.status import show_status
from operate.texts import KST, money, when

__all__ = [
    "KST",
    "LONGEST_ARMING",
    "AccountView",
    "CannotAnswer",
    "Difference",
    "Requested",
    "RunProgress",
    "SymbolProgress",
    "Valued",
    "accounts_held",
    "analyze_now",
    "arm_market",
    "change_trading_state",
    "database",
    "disarm_market",
    "explain",
    "keep_account",
    "money",
    "operator",
    "pause",
    "request_analysis",
    "request_flatten",
    "resume",
    "run_progress",
    "set_trading_state",
    "show_daily",
    "show_dead_alerts",
    "show_locks",
    "show_models",
    "show_orders",
    "show_pnl",
    "show_positions",
    "show_sent_alerts",
    "show_status",
    "unlock",
    "when",
]
