"""The past, day by day, as a market: a clock, a feed and a day's path of prices, and what an account made of it.

The rules are none of this package's: a replay runs the pipeline that trades live, with another clock and feed.
"""
