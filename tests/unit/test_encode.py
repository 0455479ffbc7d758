"""The encode stage: a model's latents become a data set that another model learns on."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from regen import families
from regen.data import arrays
from regen.data.loaders.arrays import as_images
from regen.data.rows import Rows
from regen.models.base import DataSpec
from tests.conftest import block

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with two prepared splits, a model that encodes them, and the params that say so."""
    draw = np.random.default_rng(0)
    split = {name: draw.integers(0, 256, (n, 16, 16, 1), dtype=np.uint8) for name, n in (("train", 30), ("test", 12))}
    split |= {"train_labels": np.arange(30) % 3, "test_labels": np.arange(12) % 3}
    arrays.write(tmp_path / "data/prepared/toy", split, {"shape": [1, 16, 16], "labels": ["a", "b", "c"], "kind": "toy"})
    model = families.build(
        families.config(block("vae", latent_dim=2, hidden=8), "vae"), DataSpec(dataset="toy", kind="toy", shape=(1, 16, 16))
    )
    (tmp_path / "models/toy_vae").mkdir(parents=True)
    families.save(model, tmp_path / "models/toy_vae")
    params = {
        "seed": 0, "precision": "fp32", "threads": 1, "checkpoint_seconds": 20, "launcher": "python",
        "datasets": {"toy": {"kind": "mnist", "source": "mirror"}}, "models": {"toy_vae": block("vae"), "toy_gan": block("gan")},
        "encodings": {"toy_latents": {"dataset": "toy", "model": "toy_vae"}},
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    return tmp_path, params, split


def run(script: str, *arguments: str) -> None:
    """Run a stage in this process, as its command line would."""
    before, sys.argv = sys.argv, [script, *arguments]
    try:
        runpy.run_path(str(ROOT / "stages" / script), run_name="__main__")
    finally:
        sys.argv = before


def test_the_latents_are_the_model_s_and_keep_their_images_and_labels(project):
    folder, _, split = project
    run("encode.py", "toy_latents")
    model = families.load(folder / "models/toy_vae")
    for name in ("train", "test"):
        loaded = arrays.load(folder / "data/prepared/toy_latents", name)
        expected = model.encode(as_images(split[name])).numpy()
        np.testing.assert_allclose(loaded["x"], expected, atol=1e-6)
        assert loaded["x"].dtype == np.float32
        np.testing.assert_array_equal(loaded["images"], split[name])
        np.testing.assert_array_equal(loaded["labels"], split[f"{name}_labels"])


def test_latents_that_keep_their_place_say_how_many_there_are(project):
    folder, *_ = project
    images = DataSpec(dataset="toy", kind="toy", shape=(1, 16, 16))
    model = families.build(families.config(block("vae", latent_dim=32, spatial=True), "vae"), images).eval()
    families.save(model, folder / "models/toy_vae")
    run("encode.py", "toy_latents")
    found = arrays.statistics(folder / "data/prepared/toy_latents")
    assert (found["shape"], found["places"]) == ([32], [4, 4])


def test_the_decoder_goes_with_them(project):
    folder, *_ = project
    run("encode.py", "toy_latents")
    decoder = families.load(folder / "data/prepared/toy_latents/decoder")
    z = torch.zeros(2, 2)
    assert torch.equal(decoder.decode(z), families.load(folder / "models/toy_vae").decode(z))


def test_a_mixture_learns_on_the_latents_like_on_any_data_set(project):
    folder, *_ = project
    run("encode.py", "toy_latents")
    prepared = folder / "data/prepared/toy_latents"
    config = families.config({"dataset": "toy_latents", "family": "gaussian_mixture", "components": 3}, "toy_mixture")
    model = families.build(config, DataSpec.of("toy_latents", arrays.statistics(prepared)))
    model.fit(arrays.load(prepared, "train"))
    assert model.sample(5).shape == (5, 2)


def test_the_same_latents_are_the_same_bytes(project):
    folder, *_ = project
    prepared, written = folder / "data/prepared/toy_latents", []
    for _ in range(2):
        shutil.rmtree(prepared, ignore_errors=True)
        run("encode.py", "toy_latents")
        written.append({path.name: path.read_bytes() for path in sorted(prepared.rglob("*")) if path.is_file()})
    assert written[0] == written[1]


def test_images_in_shards_are_encoded_a_part_at_a_time_to_the_same_bytes(project, monkeypatch):
    folder, _, split = project
    run("encode.py", "toy_latents")
    prepared, toy = folder / "data/prepared/toy_latents", folder / "data/prepared/toy"
    expected = {path.name: path.read_bytes() for path in prepared.glob("*.npy")}
    description = arrays.statistics(toy)
    (toy / "train.npy").unlink()
    np.save(toy / "train-00000.npy", split["train"][:17])
    np.save(toy / "train-00001.npy", split["train"][17:])
    arrays.describe(toy, {name: description[name] for name in ("shape", "labels", "kind")})
    monkeypatch.setattr(Rows, "__array__", None)  # which would read all of them at once
    run("encode.py", "toy_latents")
    assert {path.name: path.read_bytes() for path in prepared.glob("*.npy")} == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "toy_vea"}, "params.yaml: encodings.toy_latents.model: unknown model 'toy_vea' (did you mean toy_vae?)"),
        ({"dataset": "tyo"}, "params.yaml: encodings.toy_latents.dataset: unknown data set 'tyo' (did you mean toy?)"),
        ({"model": "toy_gan"}, "params.yaml: encodings.toy_latents.model: toy_gan is a gan, which has no latents"),
        ({"mode": "x"}, "params.yaml: encodings.toy_latents.mode: unknown key (did you mean model?)"),
    ],
)
def test_a_wrong_encoding_is_refused_before_any_work(project, change, message):
    folder, params, _ = project
    params["encodings"]["toy_latents"] |= change
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, ROOT / "stages/check.py"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert f"error: {message}" in done.stderr
    assert "Traceback" not in done.stderr
