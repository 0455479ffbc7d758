"""Measures of answers to questions of arithmetic, named or drawn."""

from __future__ import annotations

from regen.catalogue.measure import Measure

PERFECT = "1; of drawings, what the classifier reads in real handwriting of the true answers, which clear drawings can exceed"
REAL = "the same figure of real handwriting, unseen digits that show the true answers"

MEASURES = {
    "exact_accuracy": Measure(
        "Exact answers",
        "share",
        "higher",
        "Share of unseen queries whose whole answer is right, sign and all; a drawn answer counts as the classifier reads it.",
        PERFECT,
    ),
    "exact_accuracy_constant": Measure(
        "Exact answers of a constant",
        "share",
        "none",
        "The floor: the share of all queries that have the most frequent answer.",
        "none: a floor, for a model to leave behind",
    ),
    "character_accuracy": Measure(
        "Characters right",
        "share",
        "higher",
        "Share of the answers' characters that are right, padding included: what the references call accuracy.",
        PERFECT,
    ),
    "character_accuracy_constant": Measure(
        "Characters right of a constant",
        "share",
        "none",
        "The floor: the same figure of all queries, for the most frequent character at each place.",
        "none: a floor, for a model to leave behind",
    ),
    "cross_entropy": Measure(
        "Cross-entropy",
        "nats a character",
        "lower",
        "Mean of -log p(character | query) over the characters of the true answers.",
        "0: every answer certain and right",
    ),
    "malformed": Measure(
        "Answers that are no number",
        "share",
        "lower",
        "Share of answers with a sign or a space in the wrong place, or without any digit.",
        "0: every answer a number",
    ),
    "answer_distance": Measure(
        "Distance from the true answer",
        "units",
        "lower",
        "Mean of |given - true| over all answers that are numbers.",
        "0: every answer right",
    ),
    "squared_error": Measure(
        "Squared error of the drawing",
        "mean squared pixel difference",
        "lower",
        "Mean squared difference to an answer in real, unseen handwriting; the answer's own style cannot be "
        "known. The published figure is of the reverse task, whose floor is 0.0587, and printed ten times too large.",
        "the mean of all training images of each true character: the best that any drawing can do that is not a guess",
    ),
    "squared_error_mean": Measure(
        "Squared error of one constant drawing",
        "mean squared pixel difference",
        "none",
        "The same for the mean of all training answers, whatever the query.",
        "none: a floor, for a model to leave behind",
    ),
    "squared_error_black": Measure(
        "Squared error of black",
        "mean squared pixel difference",
        "none",
        "The same for no ink at all.",
        "none: a floor, for a model to leave behind",
    ),
    "digits_read": Measure(
        "Digits read as they should ({features})",
        "share",
        "higher",
        "Share of the answers' digits that the classifier, trained on real handwriting alone, reads as the true ones.",
        REAL,
    ),
    "diversity": Measure(
        "Diversity of a digit's drawings",
        "RMS pixel difference",
        "higher",
        "Root mean square difference between two drawings of the same digit: 0 where it is drawn the same each time.",
        REAL,
    ),
    "greyness": Measure(
        "Greyness of the drawings",
        "index",
        "none",
        "Mean of 4 p (1 - p) over the pixels of the drawn digits: high where they are blurred.",
        REAL,
    ),
}
