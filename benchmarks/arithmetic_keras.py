"""Seconds that a Keras encoder-decoder LSTM takes to 99 % exact answers. Runs in Keras' own environment, on its torch backend."""

from __future__ import annotations

import json
import os
import time

os.environ["KERAS_BACKEND"] = "torch"

import arithmetic
import keras
import numpy as np
import torch


def main() -> None:
    """Train epoch by epoch, as the reference does; evaluations are not timed."""
    torch.set_num_threads(arithmetic.THREADS)
    keras.utils.set_random_seed(0)
    x, y, test_x, test_y = arithmetic.codes()
    symbols = len(arithmetic.SYMBOLS)
    one_hot, tested = (np.eye(symbols, dtype=np.float32)[codes] for codes in (x, test_x))
    model = keras.Sequential(
        [
            keras.Input((x.shape[1], symbols)),
            keras.layers.LSTM(arithmetic.HIDDEN),
            keras.layers.RepeatVector(y.shape[1]),
            keras.layers.LSTM(arithmetic.HIDDEN, return_sequences=True),
            keras.layers.Dense(symbols, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = arithmetic.LEARNING_RATE
    model.fit(one_hot[: arithmetic.BATCH], y[: arithmetic.BATCH], batch_size=arithmetic.BATCH, verbose=0)  # what is built once
    seconds = exact = 0.0
    epochs = 0
    while exact < arithmetic.GOAL and epochs < arithmetic.MOST:
        start = time.perf_counter()
        model.fit(one_hot, y, batch_size=arithmetic.BATCH, verbose=0)
        seconds += time.perf_counter() - start
        epochs += 1
        exact = float((model.predict(tested, batch_size=2000, verbose=0).argmax(2) == test_y).all(1).mean())
    print(json.dumps({"seconds": seconds, "epochs": epochs, "exact": exact}))


if __name__ == "__main__":
    main()
