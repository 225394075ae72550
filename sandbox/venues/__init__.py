"""The wire protocols of the three markets, one module each: replies as documented, values from the candles."""
