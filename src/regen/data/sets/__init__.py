"""Data sets, one module a kind."""
