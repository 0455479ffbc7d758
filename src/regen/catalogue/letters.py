"""Models of letters, pixel by pixel."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

READS = ("letters",)  # what its models learn on

DENSE = "tables of p(x_i | x_1..x_i-1) for i = 1..25, every entry written out in 8 bytes"

MEASURES = {
    "nats_per_pixel": Measure(
        "Negative log-likelihood", "nats a pixel", "lower",
        "Mean over the letters of -log p(x) / 25. Which of 26 equally likely letters it will be nobody can know: log 26 nats, "
        "shared by 25 pixels, so it cannot reach 0.",
        bound="log 26 / 25, the entropy of the letters",
    ),
    "letters": Measure(
        "Samples that are letters", "share", "higher", "Share of 10,000 samples that equal one of the 26 letters in all pixels.",
        bound="1: every sample",
    ),
    "letters_covered": Measure(
        "Letters covered", "of 26", "higher", "How many of the 26 letters occur among 10,000 samples.", bound="26: all of them",
    ),
    "letters_p_value": Measure(
        "Equal frequencies, p-value", "probability", "none",
        "Of a chi-square test that the letters among 10,000 samples are equally likely. Of a perfect model it is any number from "
        "0 to 1, as often one as another.",
    ),
    "letters_tests_passed": Measure(
        "Equal frequencies, tests passed", "share", "higher",
        "Share of 20 further sets of 10,000 samples that pass the same test at the level of 5 %.",
        real="0.95: what sets of the letters themselves pass on average",
    ),
    "parameters": Measure(
        "Numbers held", "numbers", "lower", "Parameters of the network, or counts and references of the tree of prefixes.",
        baseline=DENSE,
    ),
    "bytes_held": Measure("Bytes held", "bytes", "lower", "Of these numbers as they are stored.", baseline=DENSE),
}  # fmt: skip

CAPTIONS = {
    "frequencies": Caption("Frequencies", "How often each letter was drawn. The band holds 95 % of the counts of a fair draw."),
    "malformed": Caption("Malformed samples", "Samples that are no letter."),
}
