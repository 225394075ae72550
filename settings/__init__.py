"""Every setting of the system, read from the environment and `.env`, checked before anything starts."""

from settings.checked import Settings
from settings.loading import SettingsError, get_settings, load_settings
from settings.markets import MARKETS, UnknownMarket, check_market, orders_queue

__all__ = [
    "MARKETS",
    "Settings",
    "SettingsError",
    "UnknownMarket",
    "check_market",
    "get_settings",
    "load_settings",
    "orders_queue",
]
