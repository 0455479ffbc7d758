"""Pinned downloads: a file is its SHA-256, wherever it comes from."""
