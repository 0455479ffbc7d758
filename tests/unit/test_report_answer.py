"""Which model generates best, said from the figures, whatever they are; and which distances do not count."""

from __future__ import annotations

import pytest

from regen.catalogue import counting
from regen.catalogue.registry import MEASURES, title
from regen.report import answer, page
from regen.report.chapters import Row, Section
from regen.report.page import ENVIRONMENT

REAL = {"frechet_distance": 30.0, "frechet_distance_prior": 30.0, "frechet_distance_fitted": 30.0, "kernel_distance": 0.1,
        "near_copies": 0.05, "copies": 0.0}  # fmt: skip


def model(key, family="gan", features="features", **figures):
    """A model with figures: each a value, or a value and its error."""
    rows = []
    for name, given in figures.items():
        value, error = given if isinstance(given, tuple) else (given, None)
        rows.append(Row(name, f"{title(name)} of {features}", MEASURES[name], value, error, "real", REAL[name], None, ""))
    return Section(key, family, {}, rows, [], "", {}, [], None, [])


@pytest.mark.parametrize(
    ("figures", "doubt"),
    [
        ({}, ""),
        ({"copies": 0.0, "near_copies": (0.05, 0.01)}, ""),
        ({"near_copies": (0.069, 0.01)}, ""),  # within two standard errors
        ({"near_copies": (0.071, 0.01)}, "copies"),
        ({"near_copies": 0.0, "copies": (0.0005, 0.0005)}, "copies"),  # one is enough
    ],
)
def test_a_distance_counts_where_no_more_samples_are_copies_than_real_images_are(figures, doubt):
    section = model("a", frechet_distance=(50.0, 1.0), kernel_distance=(2.0, 0.1), frechet_distance_fitted=(50.0, 1.0), **figures)
    assert {name: section.doubt(name) for name in ("frechet_distance", "kernel_distance")} == dict.fromkeys(
        counting.OF_SAMPLES, doubt
    )
    assert {section.doubt(name) for name in ("frechet_distance_fitted", "near_copies", "precision")} == {""}


@pytest.mark.parametrize(
    ("value", "error", "doubt"),
    [(31.0, 1.0, ""), (29.0, 1.0, ""), (27.3, 1.0, ""), (27.1, 1.0, "features"), (29.9, None, "features")],
)
def test_a_distance_below_that_of_real_training_images_does_not_count(value, error, doubt):
    names = ("frechet_distance", "frechet_distance_prior", "frechet_distance_fitted")
    section = model("a", **dict.fromkeys(names, (value, error)))
    assert [section.doubt(name) for name in names] == [doubt] * 3


def test_the_nearest_is_named_with_those_that_cannot_be_told_from_it():
    sections = [
        model("far", frechet_distance=(90.0, 1.0)), model("near", frechet_distance=(50.0, 1.0)), model("reader"),
        model("as_near", frechet_distance=(52.0, 1.0)), model("copier", frechet_distance=(31.0, 1.0), near_copies=(0.9, 0.01)),
        model("odd", frechet_distance=(3.0, 1.0)),
    ]  # fmt: skip
    assert answer.answer(sections) == [
        "Of 5 models that generate, near comes nearest to real images: Frechet distance 50.00 ± 1.0, where real training images "
        "get 30.00.",
        "Not to be told from it: as_near (52.00 ± 1.0).",
        "After that: far (90.00 ± 1.0).",
        "copier (31.00 ± 1.0) does not count: 90 % of its samples are near-copies of training images, of real test images 5 %.",
        "Below what real training images get, and so of no account: odd (3.000 ± 1.0).",
    ]


def test_where_no_distance_counts_none_is_called_the_best():
    sections = [model("a", frechet_distance=40.0, copies=0.25), model("b", frechet_distance=50.0, copies=1.0)]
    assert answer.answer(sections) == [
        "Of 2 models that generate, none has a Frechet distance that counts.",
        "a (40.00) does not count: 25 % of its samples equal a training image, of real test images none.",
        "b (50.00) does not count: 100 % of its samples equal a training image, of real test images none.",
    ]


@pytest.mark.parametrize(
    ("family", "prior", "said"), [("autoencoder", 900.0, True), ("autoencoder", 50.0, False), ("vae", 900.0, False)]
)
def test_an_autoencoder_is_said_to_have_no_prior_where_a_normal_one_is_worse(family, prior, said):
    figures = {"frechet_distance": (50.0, 1.0), "frechet_distance_fitted": (50.0, 1.0), "frechet_distance_prior": (prior, 1.0)}
    lines = answer.answer([model("a", family, **figures), model("b", frechet_distance=(60.0, 1.0))])
    line = "a has no prior: of latents drawn from a standard normal it makes images at a distance of 900.0 ± 1.0, of latents "
    assert (f"{line}drawn from a Gaussian fitted to its own 50.00 ± 1.0." in lines) is said
    assert len(lines) == 2 + said


def test_distances_in_different_features_are_not_compared():
    sections = [model("a", frechet_distance=50.0), model("b", features="other features", frechet_distance=60.0)]
    assert answer.answer(sections) == answer.answer(sections[:1]) == answer.answer([]) == []


def test_the_mark_opens_why():
    shown = ENVIRONMENT.from_string('{% import "parts.html.j2" as parts %}{{ parts.ours(3.0, 1.0, doubt) }}')
    assert "<button" not in shown.render(doubt="")
    for name in counting.DOUBTS:
        assert f'popovertarget="doubt-{name}">does not count</button>' in shown.render(doubt=name)
    assert 'id="doubt-{{ name }}" popover' in page._source("page.html.j2")
