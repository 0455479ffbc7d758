"""Studies: one model trained and evaluated for a list of values."""
