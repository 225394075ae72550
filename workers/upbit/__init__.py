"""Upbit: crypto against KRW. Quotation is public, so no key is needed to read the market."""
