"""What both sides of the text-to-text comparison share: sizes, queries and the goal. Imports nothing but NumPy."""

from __future__ import annotations

import numpy as np

HIDDEN = 256
BATCH = 128
LEARNING_RATE = 1e-3
GOAL = 0.99  # exact answers to the queries that are kept apart
MOST = 120  # epochs
THREADS = 2
SYMBOLS = "0123456789+- "


def codes() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return codes of training queries (18000, 5), their answers (18000, 3), and the same of 2,000 others."""
    pairs = [(i, j) for i in range(100) for j in range(100)]
    queries = [f"{i}+{j}" for i, j in pairs] + [f"{i}-{j}" for i, j in pairs]
    answers = [str(i + j) for i, j in pairs] + [str(i - j) for i, j in pairs]
    order = np.random.default_rng(0).permutation(len(queries))
    x, y = (
        np.array([[SYMBOLS.index(character) for character in text.ljust(length)] for text in texts], np.int64)[order]
        for texts, length in ((queries, 5), (answers, 3))
    )
    return x[2000:], y[2000:], x[:2000], y[:2000]
