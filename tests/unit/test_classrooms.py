"""The classroom graphs: valid graphs, drawn from the very probabilities they state."""

from __future__ import annotations

import numpy as np
import pytest

from regen import data
from regen.data import arrays as packed
from regen.data.sets import classrooms
from regen.errors import UserError


def prepared(tmp_path, seed: int = 0, **changes: object):
    config = data.config({"kind": "classrooms", "source": "generated", **changes}, "classrooms")
    assert isinstance(config, classrooms.Config)
    classrooms.download(config, tmp_path)
    return classrooms.prepare(config, tmp_path, seed)


def test_graphs_are_undirected_without_self_loops(tmp_path):
    arrays, _ = prepared(tmp_path)
    edges = arrays["train_edges"]
    assert edges.shape == (100, 15, 15)
    np.testing.assert_array_equal(edges, edges.swapaxes(1, 2))
    assert edges[:, np.arange(15), np.arange(15)].sum() == 0
    assert np.abs(arrays["train"]).max() <= 1


def test_about_7_5_percent_of_the_pairs_are_friends(tmp_path):
    _, description = prepared(tmp_path, graphs=2000)
    assert description["density"] == pytest.approx(0.075, abs=0.005)


def test_edges_are_as_frequent_as_their_probability(tmp_path):
    arrays, _ = prepared(tmp_path, graphs=2000)
    i, j = np.triu_indices(15, 1)
    s = np.einsum("nif,njf->nij", arrays["train"], arrays["train"])[:, i, j].ravel()
    e = arrays["train_edges"][:, i, j].ravel()
    for low in np.arange(-2, 2, 0.5):
        bin_ = (s >= low) & (s < low + 0.5)
        p = 1 / (1 + np.exp(-(3 * s[bin_] - 3.5)))
        assert abs(e[bin_].mean() - p.mean()) < 4 * np.sqrt((p * (1 - p)).sum()) / bin_.sum()


def test_the_splits_share_no_graph_and_a_seed_decides_both(tmp_path):
    first, again, other = (prepared(tmp_path, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["train_edges"], again["train_edges"])
    assert not np.array_equal(first["train"], other["train"])
    assert not np.isin(first["train"], first["test"]).any()


def test_a_split_loads_with_its_edges(tmp_path):
    arrays, description = prepared(tmp_path)
    packed.write(tmp_path / "classrooms", arrays, description)
    loaded = packed.load(tmp_path / "classrooms", "train")
    assert sorted(loaded) == ["edges", "x"]
    np.testing.assert_array_equal(loaded["edges"], arrays["train_edges"])


def test_a_missing_raw_file_is_named(tmp_path):
    config = data.config({"kind": "classrooms", "source": "generated"}, "classrooms")
    with pytest.raises(UserError, match=r"truth\.json: no such file"):
        classrooms.prepare(config, tmp_path, 0)
