"""Files of strangers, made by the hundred: each is read rightly or refused in a line. `REGEN_CASES=10000` makes more."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regen import families
from regen.data.images import decoding
from regen.data.tiles import sections
from regen.data.tiles.survey import LARGEST, survey
from regen.errors import UserError
from regen.training import checkpoint
from tests.conftest import build
from tests.hostile import files

CASES = int(os.environ.get("REGEN_CASES", "40"))
hostile = settings(
    max_examples=CASES, deadline=None, database=None, derandomize="REGEN_CASES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip
FAMILIES = [family for family in families.families() if family not in ("pixel_lstm", "seq2seq")]  # these are slow to build


@pytest.fixture(scope="module")
def folder() -> Any:
    """A folder of its own, where nothing else may appear."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def one_line_or(attempt: Callable[[], Any]) -> Any:
    """Return what an attempt gives, or None where a person is told in a few lines what is wrong."""
    try:
        return attempt()
    except UserError:
        return None


# -- checkpoints

TENSORS = {
    "model/weight": torch.arange(6.0).reshape(2, 3),
    "network/weight/step": torch.tensor(3.0),
    "sums/loss": torch.tensor(0.5),
}
WANTED = {name: TENSORS[name] for name in ("model/weight", "network/weight/step")}
STATE = {"step": 3, "history": [{"epoch": 1, "step": 2, "examples": 16, "loss": 0.25}]}


@pytest.fixture(scope="module")
def saved(folder: Path) -> bytes:
    (folder / "checkpoint").mkdir()
    checkpoint.save(folder / "checkpoint", TENSORS, STATE)
    return (folder / "checkpoint" / checkpoint.FILE).read_bytes()


@hostile
@given(data=st.data())
def test_a_damaged_checkpoint_is_never_taken(data: st.DataObject, saved: bytes, folder: Path) -> None:
    path = folder / "checkpoint" / checkpoint.FILE
    path.write_bytes(data.draw(files.damaged(saved)))
    loaded = checkpoint.load(
        path.parent, lambda tensors, state: checkpoint.fits(tensors, state, WANTED, steps=4, per_epoch=2, patience=False)
    )
    if loaded is not None:  # what was changed is no content, or changed back
        assert loaded[1] == STATE
        assert all(torch.equal(tensor, loaded[0][name]) for name, tensor in TENSORS.items())


# -- model folders


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, tuple[dict[str, Any], bytes]]:
    """What sound folders of all families hold: model.json and the weights."""
    found = {}
    for family in FAMILIES:
        (folder / family).mkdir()
        families.save(build(family), folder / family)
        found[family] = (
            json.loads((folder / family / "model.json").read_text()), (folder / family / "model.safetensors").read_bytes()
        )  # fmt: skip
    return found


def used(path: Path) -> None:
    """Load a model and use it."""
    model: Any = families.load(path)
    if hasattr(model, "sample") and model.config.family in ("vae", "gan", "vade", "ppca", "gaussian_mixture"):
        model.sample(1, seed=0)


@hostile
@given(data=st.data())
def test_a_description_of_other_values_loads_or_is_refused(data: st.DataObject, models: Any, folder: Path) -> None:
    family = data.draw(st.sampled_from(FAMILIES))
    description, weights = models[family]
    (folder / family / "model.safetensors").write_bytes(weights)
    text = json.dumps(data.draw(files.altered(description)))
    content = data.draw(files.damaged(text.encode())) if data.draw(st.booleans()) else text.encode()
    (folder / family / "model.json").write_bytes(content)
    one_line_or(lambda: used(folder / family))


@hostile
@given(data=st.data())
def test_damaged_weights_are_refused_though_their_digest_is_right(data: st.DataObject, models: Any, folder: Path) -> None:
    family = data.draw(st.sampled_from(FAMILIES))
    description, weights = models[family]
    content = data.draw(files.damaged(weights))
    (folder / family / "model.safetensors").write_bytes(content)
    described = description | {"sha256": hashlib.sha256(content).hexdigest()}
    (folder / family / "model.json").write_text(json.dumps(described))
    one_line_or(lambda: used(folder / family))


@hostile
@given(data=st.data())
def test_any_numbers_in_weights_load_or_are_refused(data: st.DataObject, models: Any, folder: Path) -> None:
    family = data.draw(st.sampled_from(FAMILIES))
    description, weights = models[family]
    tensors = safetensors.torch.load(weights)
    tensor = tensors[data.draw(st.sampled_from(sorted(tensors)))]
    if tensor.is_floating_point():
        number: Any = data.draw(st.sampled_from([0.0, -1.0, 1e30, -1e30, float("nan"), float("inf")]))
    else:
        number = data.draw(st.sampled_from([0, -1, -2, 9, 2**31 - 1]))
    place = data.draw(st.integers(0, max(0, tensor.numel() - 1)))
    if tensor.numel():
        tensor.view(-1)[place] = number
    content = safetensors.torch.save(tensors)
    (folder / family / "model.safetensors").write_bytes(content)
    described = description | {"sha256": hashlib.sha256(content).hexdigest()}
    (folder / family / "model.json").write_text(json.dumps(described))
    one_line_or(lambda: used(folder / family))


# -- HDF5


def measured(path: Path) -> list[Any]:
    """Read all of a file of sections, as it is prepared."""
    with sections.opened(path) as file:
        found = survey(file)
        return [(section, sections.moments(sections.measure(file[section.name])[0])) for section in found]


@hostile
@given(items=files.tree())
def test_a_tree_is_measured_or_refused(items: Any, folder: Path) -> None:
    path = folder / "tree.h5"
    (folder / "secret").write_bytes(b"secret" * 1000)
    with h5py.File(folder / "other.h5", "w") as other:
        other["x/0"] = np.zeros((20, 20), np.uint8)
    files.build(items, path)
    for section, moments in one_line_or(lambda: measured(path)) or []:
        assert section.height * section.width <= LARGEST  # a line of a million pixels is an image, too
        assert 0 <= moments["min"] <= moments["mean"] <= moments["max"] <= 255


@pytest.fixture(scope="module")
def tree(folder: Path) -> bytes:
    path = folder / "sound.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for name, options in {"x/0": {}, "x/1": {"chunks": (8, 8)}, "y/0": {"chunks": (8, 8), "compression": "gzip"}}.items():
            file.create_dataset(
                name, data=np.random.default_rng(len(options)).integers(0, 250, (20, 24)).astype(np.uint8), **options
            )
    return path.read_bytes()


@hostile
@given(data=st.data())
def test_a_damaged_file_of_sections_is_measured_or_refused(data: st.DataObject, tree: bytes, folder: Path) -> None:
    path = folder / "damaged.h5"
    path.write_bytes(data.draw(files.damaged(tree)))
    one_line_or(lambda: measured(path))


# -- pictures

PICTURES = files.pictures()
FORM = decoding.Form(8, "pad", "smooth", colour=True, background="#ffffff")


@hostile
@given(data=st.data())
def test_a_damaged_picture_is_decoded_or_refused(data: st.DataObject, folder: Path) -> None:
    name = data.draw(st.sampled_from(sorted(PICTURES)))
    content = data.draw(files.damaged(PICTURES[name]))
    path = folder / name
    path.write_bytes(content)
    told = []
    with decoding.limits():
        for attempt in (lambda: np.asarray(decoding.whole(path)), lambda: decoding.decode(content, FORM).pixels):
            try:
                assert attempt().dtype == np.uint8
            except decoding.BadPictureError as error:
                told.append(str(error))
    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize("name", sorted(set(PICTURES) - {"m.tif"}))
def test_the_sound_ones_are_decoded(name: str, folder: Path) -> None:
    (folder / name).write_bytes(PICTURES[name])
    assert decoding.whole(folder / name).size == ((20, 24) if name == "e.jpg" else (24, 20))
