"""Exported models: what they compute equals torch, their files are the same bytes each time, and they run by themselves."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from regen import families, params, paths
from regen.data import arrays
from regen.errors import UserError
from regen.export import latents, run, runtime
from regen.models.base import DataSpec
from regen.models.two_stages import TwoStages
from tests import smoke
from tests.conftest import OTHERS, block, build, toy_images

TOLERANCE = 1e-4
LATENTS = DataSpec(dataset="toy_latents", kind="encoding", shape=(4,), labels=("left", "right", "bright"), mean=0.5, std=2.0)
MAKING_IMAGES = ["autoencoder", "vae", "vade", "gan"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def prepared(**changes: Any) -> run.Images:
    """Toy images as a prepared data set."""
    toy = toy_images()
    arrays.write(
        paths.prepared("toy"),
        {"train": toy["x"], "train_labels": toy["labels"], "test": toy["x"][:20], "test_labels": toy["labels"][:20]},
        {"dataset": "toy", "kind": "toy", "shape": [3, 16, 16], "labels": ["left", "right", "bright"], **changes},
    )
    return run.Images(paths.prepared("toy"), 0, "model")


def components() -> tuple[Any, run.Images]:
    """Principal components of small grey images, and these."""
    x, model = toy_images()["x"][:, :6, :6, :1], build("ppca")
    description = {"dataset": "small", "kind": "toy", "shape": [1, 6, 6]}
    arrays.write(paths.prepared("small"), {"train": x, "test": x}, description)
    model.fit({"x": x})
    return model.eval(), run.Images(paths.prepared("small"), 0, "model")


def shaken(model: Any) -> Any:
    """A model whose weights are no longer those it began with: some of those are zero, and hide what depends on them."""
    draws = torch.Generator().manual_seed(1)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point() and tensor.ndim:
            tensor.data += 0.1 * torch.rand(tensor.shape, generator=draws)
    return model.eval()


def flow(conditional: bool = True, shape: tuple[int, ...] = (4,)) -> Any:
    """A flow of latents, or of images."""
    spec = LATENTS if len(shape) == 1 else LATENTS.model_copy(update={"kind": "toy", "shape": shape})
    changes = {"conditional": conditional, "channels": [8, 16]} if len(shape) == 3 else {"conditional": conditional}
    return shaken(families.build(families.config(block("flow", **changes), "flow"), spec))


def onnx_run(content: bytes, *inputs: torch.Tensor) -> list[np.ndarray]:
    """What ONNX Runtime makes of a file."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    named = zip(session.get_inputs(), inputs, strict=True)
    found: list[np.ndarray] = session.run(None, {given.name: x.numpy() for given, x in named})
    return found


def equal(found: np.ndarray, expected: torch.Tensor) -> None:
    assert found.shape == tuple(expected.shape)
    assert np.abs(found - expected.numpy()).max() <= TOLERANCE


@pytest.mark.parametrize("family", MAKING_IMAGES)
@pytest.mark.parametrize("rows", [1, 300])
def test_a_decoder_makes_the_images_that_torch_makes_of_any_number_of_latents(family, rows):
    model = shaken(build(family))
    files, description = run.exported(model, prepared())
    z = torch.randn(rows, 4)
    equal(onnx_run(files["decoder.onnx"], z)[0], model.decode(z))
    assert (description["kind"], description["latent_dim"], description["shape"]) == ("decoder", 4, [3, 16, 16])


def test_principal_components_are_a_decoder_too():
    model, images = components()
    files, description = run.exported(model, images)
    z = torch.randn(3, 2)
    equal(onnx_run(files["decoder.onnx"], z)[0], model.decode(z))
    assert (description["kind"], len(description["directions"])) == ("decoder", 2)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("shape", [(4,), (3, 16, 16)], ids=["latents", "images"])
def test_a_flow_s_path_leads_to_the_image_that_torch_makes(conditional, shape):
    first = flow(conditional, shape)
    model = TwoStages(first, shaken(build("autoencoder"))).eval() if len(shape) == 1 else first
    files, description = run.exported(model, prepared())
    noise = torch.randn(2, int(np.prod(shape)))
    asked = first.asked(["bright"]) if conditional else None
    told = [] if asked is None else [asked.expand(2, -1)]
    state = noise.reshape(2, *description["path_shape"]).numpy()
    times = np.linspace(0, 1, description["steps"] + 1, dtype=np.float32)
    for now, then in itertools.pairwise(times):  # Heun's method, as a caller writes it

        def velocity(x: np.ndarray, t: np.float32) -> np.ndarray:
            return onnx_run(files["velocity.onnx"], torch.from_numpy(x), torch.full((2,), float(t)), *told)[0]

        v = velocity(state, now)
        state = state + (then - now) / 2 * (v + velocity(state + (then - now) * v, then))
    end = first.decode(noise, asked)
    equal(onnx_run(files["decoder.onnx"], torch.from_numpy(state))[0], end if first is model else model.images.decode(end))
    assert description["labels"] == (["left", "right", "bright"] if conditional else [])


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "text"},
        {"target": "text", "encoder_layers": 2, "decoder_layers": 2, "bidirectional": True},
        {"target": "image"},
        {"target": "image", "naming": 1.0},
        {"target": "image", "naming": 1.0, "latent_dim": 3},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_an_answer_is_the_one_that_torch_gives(changes):
    model: Any = shaken(build("seq2seq", source="text", **changes))
    files, description = run.exported(model, prepared())
    for rows in (1, 3):
        question = torch.randint(0, 13, (rows, 5))
        handwriting = torch.randn(rows, 3, description["latent_dim"])
        given = [question, handwriting][: 1 + bool(description["latent_dim"])]
        found = dict(zip(description["outputs"], onnx_run(files["decoder.onnx"], *given), strict=True))
        if "logits" in found:
            equal(found["logits"], model.answer_logits(question))
        if "drawings" in found:
            with pytest.MonkeyPatch.context() as patch:  # the same handwriting: drawn place by place, and not row by row
                patch.setattr(torch, "randn", lambda *_, style=handwriting, **__: style.transpose(0, 1).flatten(0, 1))
                equal(found["drawings"], model.drawings(question))
    assert description["symbols"] == list("0123456789+- ")


@pytest.mark.parametrize("family", sorted({"classifier", *OTHERS} - {"flow", "ppca", "seq2seq", "pretrained"}))
def test_of_a_model_that_makes_no_images_and_no_answers_there_is_no_file(family):
    files, description = run.exported(build(family).eval(), prepared())
    assert (files, description["kind"]) == ({}, "none")


def test_of_a_model_that_reads_handwriting_there_is_no_file():
    assert run.exported(build("seq2seq", source="image", target="text").eval(), prepared())[0] == {}


def test_the_files_are_the_same_bytes_in_another_process_and_name_no_path(tmp_path):
    prepared()
    saved(shaken(build("vae")), "toy_vae")
    given = (smoke.ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(given.replace("models:\n", f"models:\n  toy_vae: {json.dumps(block('vae'))}\n", 1))
    found = []
    for _ in range(2):
        command = [sys.executable, str(smoke.ROOT / "stages/export.py"), "toy_vae"]
        done = subprocess.run(command, capture_output=True, text=True, env=smoke.environment(smoke.ROOT), check=False)
        assert done.returncode == 0, done.stderr
        found.append({path.name: path.read_bytes() for path in paths.exported("toy_vae").iterdir()})
    assert found[0] == found[1]
    assert found[0].keys() == {"decoder.onnx", "decoder.json"}
    for word in (str(smoke.ROOT), "site-packages", "regen"):
        assert word.encode() not in found[0]["decoder.onnx"]


def test_a_file_is_valid_and_holds_its_weights():
    content = run.exported(build("vae").eval(), prepared())[0]["decoder.onnx"]
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert not [tensor.name for tensor in model.graph.initializer if tensor.external_data]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]


def test_a_model_that_is_missing_is_one_line(tmp_path):
    prepared()
    with pytest.raises(UserError, match=r"no such file; train it with `dvc repro train@toy_vae`") as problem:
        run.run("toy_vae", given(), paths.prepared("toy"), paths.model("toy_vae"), paths.exported("toy_vae"))
    assert "\n" not in str(problem.value)
    assert not paths.exported("toy_vae").exists()


def test_data_that_are_missing_are_one_line():
    saved(build("autoencoder"), "toy_autoencoder")
    with pytest.raises(UserError, match=r"toy/statistics.json: no such file; run `dvc repro`"):
        run.run("toy_autoencoder", given(), paths.prepared("toy"), paths.model("toy_autoencoder"), paths.exported("a"))


def saved(model: Any, key: str) -> None:
    paths.model(key).mkdir(parents=True)
    families.save(model, paths.model(key))


def given() -> params.Params:
    return params.read(smoke.ROOT / "params.yaml")


def test_the_first_direction_is_the_one_in_which_images_change_most():
    weights = torch.diag(torch.tensor([0.1, 3.0, 1.0, 0.0]))
    spread = torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0], dtype=torch.float64))
    found = latents.directions(lambda z: z @ weights, torch.zeros(4, dtype=torch.float64), spread, 2)
    assert found[0].abs().argmax() == 2  # 5 x 1 a standard deviation
    assert found[1].abs().argmax() == 1
    assert torch.allclose(found.norm(dim=1), torch.tensor([5.0, 1.0], dtype=torch.float64), rtol=0.2)


def test_the_latents_of_an_autoencoder_are_those_of_its_training_images():
    model: Any = shaken(build("autoencoder"))
    images = prepared()
    z = model.encode(images.training()).double()
    (component,) = latents.distribution(model, images.training)
    assert torch.allclose(component.mean, z.mean(0))
    assert torch.allclose(component.spread.T @ component.spread, z.T.cov(correction=0), atol=1e-6)


def test_the_components_of_a_learned_prior_are_those_that_the_model_draws_from():
    model: Any = shaken(build("vade"))
    components = latents.distribution(model, lambda: torch.empty(0))
    mean, spread = latents.moments(components)
    drawn = model.sample_prior(50_000, seed=0).double()
    assert len(components) == 3
    assert torch.allclose(mean, drawn.mean(0), atol=0.05)
    assert torch.allclose(spread.T @ spread, drawn.T.cov(), atol=0.1)


def test_labels_that_exclude_each_other_are_told():
    first = flow()
    first.together = torch.tensor([[500.0, 0, 5, 500], [0, 500, 5, 500], [5, 5, 10, 10], [500, 500, 10, 1000]]).double()
    _, description = run.exported(TwoStages(first, build("autoencoder")).eval(), prepared())
    assert description["exclusive"] == [[0, 1]]


def test_the_plane_of_two_latents_shows_where_test_images_lie():
    toy = toy_images()
    classes = toy["labels"][:, 0]
    content = {"train": toy["x"], "train_labels": classes, "test": toy["x"], "test_labels": classes}
    description = {"dataset": "toy", "kind": "toy", "shape": [3, 16, 16], "labels": ["dark", "light"]}
    arrays.write(paths.prepared("toy"), content, description)
    model: Any = shaken(build("vae", latent_dim=2))
    _, found = run.exported(model, run.Images(paths.prepared("toy"), 0, "model"))
    assert found["point_labels"] == [["dark", "light"][label] for label in classes]
    expected = model.encode(torch.from_numpy(toy["x"]).permute(0, 3, 1, 2) / 255)
    assert np.allclose(found["points"], expected, rtol=1e-4)  # written with five digits


def test_the_runtime_is_a_pinned_package_as_two_scripts(monkeypatch, tmp_path):
    def into(folder: Path, files: Any) -> dict[str, Any]:
        for file in files:
            (folder / file.name).write_bytes(file.name.encode())
        return {file.name: file.sha256 for file in files}

    monkeypatch.setattr(runtime.pinned, "into", into)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: pytest.fail("it may be full"))
    runtime.fetch(tmp_path / "runtime")
    assert {path.name for path in (tmp_path / "runtime").iterdir()} == {"ort.js", "wasm.js", "provenance.json"}
    assert (tmp_path / "runtime/ort.js").read_text() == "ort.wasm.min.js"
    assert runtime.packed(b"ort-wasm-simd.wasm") in (tmp_path / "runtime/wasm.js").read_text()
