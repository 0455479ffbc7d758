"""Measures of autoregressive models of letters."""

from __future__ import annotations

from regen.catalogue.measure import Measure

MEASURES = {
    "nats_per_pixel": Measure(
        "Negative log-likelihood",
        "nats a pixel",
        "lower",
        "Mean over the letters of -log p(x) / 25. No model of 26 equally likely letters gets below their entropy: "
        "which letter it will be is real uncertainty, log 26 nats shared by 25 pixels, so the loss cannot reach 0.",
        "log 26 / 25, the entropy of the letters",
    ),
    "letters": Measure(
        "Samples that are letters",
        "share",
        "higher",
        "Share of 10,000 samples that equal one of the 26 letters in all 25 pixels.",
        "1: every sample",
    ),
    "letters_covered": Measure(
        "Letters covered", "of 26", "higher", "How many of the 26 letters occur among 10,000 samples.", "26: all of them"
    ),
    "letters_p_value": Measure(
        "Equal frequencies, p-value",
        "probability",
        "none",
        "Of a chi-square test that the letters among 10,000 samples are equally likely: below 0.05 in one of 20 runs of a "
        "perfect model.",
        "none: uniform from 0 to 1 where the model is right",
    ),
    "letters_tests_passed": Measure(
        "Equal frequencies, tests passed",
        "share",
        "higher",
        "Share of 20 further sets of 10,000 samples that pass the same test at the level of 5 %.",
        "0.95: what a perfect model passes on average",
    ),
    "parameters": Measure(
        "Numbers held",
        "numbers",
        "lower",
        "Parameters of the network, or counts and references of the tree of prefixes.",
        "entries of the dense tables p(x_i | x_1..x_i-1), i = 1..25",
    ),
    "bytes_held": Measure(
        "Bytes held", "bytes", "lower", "Of these numbers as they are stored.", "the dense tables, 8 bytes an entry"
    ),
}
