"""The checks of an analysis, each a pure function named as its rule: a case in, a rejection or None out."""
