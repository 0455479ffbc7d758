"""What the report's playground holds: the models that run, what is missing in a line each, and weights of two bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from regen import params, paths
from regen.report import playground
from tests import smoke

WEIGHTS = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)


def graph(weights: np.ndarray = WEIGHTS) -> bytes:
    """An ONNX file: latents (n, 20) -> image (n, 30), by a matrix."""
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("latents", 20), ("image", 30))
    ]
    node = helper.make_node("MatMul", ["latents", "weights"], ["image"])
    content = helper.make_graph([node], "toy", tensors[:1], tensors[1:], [numpy_helper.from_array(weights, "weights")])
    data: bytes = helper.make_model(content, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    return data


def exported(key: str, kind: str = "decoder", content: bytes | None = None) -> None:
    """An export as its stage leaves it."""
    paths.exported(key).mkdir(parents=True)
    (paths.exported(key) / "decoder.json").write_text(json.dumps({"kind": kind, "name": "</script>"}))
    if kind != "none":
        (paths.exported(key) / "decoder.onnx").write_bytes(content or graph())


@pytest.fixture
def given(tmp_path, monkeypatch) -> params.Params:
    """Params of a VAE and a classifier, beside the runtime."""
    whole = params.read(smoke.ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    paths.RUNTIME.mkdir(parents=True)
    for name in playground.RUNTIME:
        (paths.RUNTIME / name).write_text(name)
    models = {"a_vae": {"dataset": "toy", "family": "vae"}, "a_classifier": {"dataset": "toy", "family": "classifier"}}
    return whole.model_copy(update={"models": models, "encodings": {}})


def section(given: params.Params) -> Any:
    return playground.section(given.models, given)


def test_the_models_that_can_run_are_those_with_something_to_run(given):
    exported("a_vae")
    exported("a_classifier", kind="none")
    found = section(given)
    assert (found.dataset, [model.key for model in found.models], found.missing) == ("toy", ["a_vae"], [])


def test_where_nothing_can_run_there_is_no_section(given):
    exported("a_vae", kind="none")
    exported("a_classifier", kind="none")
    assert section(given) is None


def test_what_is_missing_or_damaged_is_a_line_with_its_cure(given):
    exported("a_classifier", kind="none")
    assert section(given).missing == ["exports/a_vae/decoder.json: no such file; run `dvc repro export@a_vae`"]
    exported("a_vae")
    for damage in ("{", "[]", "\udcff"):
        (paths.exported("a_vae") / "decoder.json").write_bytes(damage.encode("utf-8", "surrogateescape"))
        (line,) = section(given).missing
        assert line.startswith("exports/a_vae/decoder.json: damaged (")
        assert line.endswith("); run `dvc repro --force export@a_vae`")


def test_without_the_runtime_nothing_runs(given):
    exported("a_vae")
    exported("a_classifier", kind="none")
    (paths.RUNTIME / "wasm.js").unlink()
    found = section(given)
    assert (found.models, found.missing) == ([], ["data/runtime/wasm.js: no such file; run `dvc repro runtime`"])


def test_a_model_that_is_too_large_for_a_page_is_named(given, monkeypatch):
    exported("a_vae")
    exported("a_classifier", kind="none")
    monkeypatch.setattr(playground, "LARGEST", 1000)
    found = section(given)
    assert (found.models, found.missing) == ([], [])
    assert found.too_large == ["a_vae: 0 MB are too many for a page; its files are in exports/a_vae"]


def test_a_page_s_files_are_the_same_bytes_each_time_and_name_no_other_place(given, tmp_path):
    exported("a_vae")
    exported("a_classifier", kind="none")
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        playground.write(tmp_path / name, [section(given)])
        found.append({path.name: path.read_bytes() for path in (tmp_path / name / "playground").iterdir()})
    assert found[0] == found[1]
    assert found[0].keys() == {"playground.js", "playground.css", "ort.js", "wasm.js", "a_vae.js"}
    for name in ("playground.js", "playground.css"):
        assert b"://" not in found[0][name]


def test_weights_of_two_bytes_are_taken_back_to_single_precision(given):
    small = playground.halved(graph())
    assert len(small) < 0.6 * len(graph())
    onnx.checker.check_model(onnx.load_from_string(small), full_check=True)
    z = np.random.default_rng(1).normal(size=(2, 20)).astype(np.float32)
    images = [run(content, z) for content in (graph(), small)]
    assert images[1].dtype == np.float32
    assert 0 < np.abs(images[0] - images[1]).max() < 0.01


def test_weights_that_half_precision_cannot_hold_stay_as_they_are():
    assert playground.halved(graph(WEIGHTS * 1e6)) == onnx.load_from_string(graph(WEIGHTS * 1e6)).SerializeToString()


def run(content: bytes, z: np.ndarray) -> np.ndarray:
    image: np.ndarray = onnxruntime.InferenceSession(content).run(None, {"latents": z})[0]
    return image
