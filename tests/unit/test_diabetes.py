"""The diabetes table: scikit-learn's numbers, split and standardised."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from regen import data
from regen.data.sets import diabetes
from regen.errors import UserError


@pytest.fixture
def config() -> diabetes.Config:
    parsed = data.config({"kind": "diabetes", "source": "scikit-learn", "test_fraction": 0.2}, "diabetes")
    assert isinstance(parsed, diabetes.Config)
    return parsed


def test_the_raw_table_is_scikit_learns_to_the_last_digit(config, tmp_path):
    diabetes.download(config, tmp_path)
    names, table = diabetes.read(tmp_path / diabetes.FILE)
    peer = load_diabetes(scaled=False)
    assert names == [*peer.feature_names, "target"]
    np.testing.assert_array_equal(table, np.c_[peer.data, peer.target])


def test_measurements_are_standardised_by_the_training_split_alone(config, tmp_path):
    diabetes.download(config, tmp_path)
    arrays, description = diabetes.prepare(config, tmp_path, seed=0)
    assert (len(arrays["train"]), len(arrays["test"])) == (354, 88)
    np.testing.assert_allclose(arrays["train"].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(arrays["train"].std(0), 1)
    rows = np.concatenate(
        [np.c_[arrays[s] * description["stds"] + description["means"], arrays[f"{s}_targets"]] for s in ("train", "test")]
    )
    _, table = diabetes.read(tmp_path / diabetes.FILE)
    np.testing.assert_allclose(np.array(sorted(rows.tolist())), np.array(sorted(table.tolist())), rtol=1e-9)


def test_another_table_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(diabetes, "SHA256", "0" * 64)
    with pytest.raises(UserError, match="install the pinned version"):
        diabetes.download(config, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), ("a,b\n1,2\n3\n", "damaged"), ("a,b\n1,nan\n", "damaged")]
)
def test_a_missing_or_damaged_table_is_named(config, tmp_path, content, message):
    if content is not None:
        (tmp_path / diabetes.FILE).write_text(content)
    with pytest.raises(UserError, match=rf"diabetes\.csv: {message}"):
        diabetes.prepare(config, tmp_path, seed=0)
