"""`autotrader doctor`: is everything there that the system needs, and does what it sends arrive?"""
