"""One folder per market: all that knows a venue's API lives there, and nothing else does."""
