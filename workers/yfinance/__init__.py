"""US stocks by Yahoo's quotes. The library of that name is heavy and is imported by the worker that uses it only."""
