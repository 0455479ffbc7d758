"""Answers to questions of arithmetic, in text or drawn."""

from __future__ import annotations

from regen.catalogue.measure import Caption, Measure

READS = ("queries",)  # what its models learn on

PERFECT = "1: all of them"
READ = "what the classifier reads in real handwriting of the true answers"
REAL = "the same for real handwriting: unseen digits that show the true answers"

MEASURES = {
    "exact_accuracy": Measure(
        "Exact answers", "share", "higher",
        "Share of unseen queries whose whole answer is right, sign and all; a drawn answer counts as the classifier reads it.",
        bound=PERFECT, real=READ,
    ),
    "exact_accuracy_constant": Measure(
        "Exact answers of a constant", "share", "none",
        "Share of all queries that have the most frequent answer: a model that looks at no query gets no more.",
    ),
    "character_accuracy": Measure(
        "Characters right", "share", "higher",
        "Share of the answers' characters that are right, padding included: what published reports call accuracy.",
        bound=PERFECT, real=READ,
    ),
    "character_accuracy_constant": Measure(
        "Characters right of a constant", "share", "none",
        "The same of all queries, for the most frequent character at each place: a model that looks at no query gets no more.",
    ),
    "cross_entropy": Measure(
        "Cross-entropy", "nats a character", "lower",
        "Mean of -log p(character | query) over the characters of the true answers.", bound="0: every answer certain and right",
    ),
    "malformed": Measure(
        "Answers that are no number", "share", "lower",
        "Share of answers with a sign or a space in the wrong place, or without any digit.", bound="0: every answer a number",
    ),
    "answer_distance": Measure(
        "Distance from the true answer", "units", "lower", "Mean of |given - true| over all answers that are numbers.",
        bound="0: every answer right",
    ),
    "squared_error": Measure(
        "Squared error of the drawing", "mean squared pixel difference", "lower",
        "Mean squared difference to the true answer in real, unseen handwriting, whose style no model can know.",
        baseline="the mean of all training images of each true character",
    ),
    "squared_error_mean": Measure(
        "Squared error of one constant drawing", "mean squared pixel difference", "none",
        "The same for the mean of all training answers, whatever the query.",
    ),
    "squared_error_black": Measure(
        "Squared error of black", "mean squared pixel difference", "none", "The same for no ink at all.",
    ),
    "digits_read": Measure(
        "Digits read as they should ({features})", "share", "higher",
        "Share of the answers' digits that the classifier, trained on real handwriting alone, reads as the true ones. A mean of "
        "handwritings is read as well or ill as it is.",
        real=REAL,
    ),
    "diversity": Measure(
        "Diversity of a digit's drawings", "RMS pixel difference", "higher",
        "Root mean square difference between two drawings of the same digit: 0 where it is drawn the same each time.", real=REAL,
    ),
    "greyness": Measure(
        "Greyness of the drawings", "index", "none",
        "Mean of 4 p (1 - p) over the pixels of the drawn digits: high where they are blurred.", real=REAL,
    ),
}  # fmt: skip

CAPTIONS = {
    "answers": Caption(
        "Answers", "The first forty unseen queries, with what was answered, and the true answer where that is wrong."
    ),
    "handwriting": Caption("Handwriting", "Ten drawings of each digit, in answers to different queries."),
    "failures": Caption(
        "Which answers fail", "Share of wrong answers by the kind of query, with its standard error; the number of queries."
    ),
    "distribution": Caption("Answers over all values", "How often each value is the true answer, and how often it is given."),
    "distances": Caption("How far off", "Distance from the true answer: of the wrong answers, and of all."),
}
