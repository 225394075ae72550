"""upbit."""
