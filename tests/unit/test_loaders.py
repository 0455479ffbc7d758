"""Loaders: the batch of step n is a function of n, processes share it, and what cannot be read is refused by name."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

from regen import families
from regen.data import arrays, folders, loaders
from regen.data.loaders import Share, memory, tiles
from regen.data.loaders import arrays as batches_of_arrays
from regen.data.loaders.ahead import Ahead
from regen.data.loaders.arrays import ArrayBatches, as_images
from regen.data.loaders.passes import Passes, check_batch_size
from regen.data.loaders.tiles import TileBatches
from regen.data.sets import brains
from regen.errors import UserError
from regen.models.base import DataSpec, TrainedModel
from regen.params import Params
from regen.training import run as training
from regen.training.distributed import Devices
from regen.training.loop import train
from tests.conftest import block

NUMBERS = {"x": np.arange(40.0)[:, None]}


def seen(batches: ArrayBatches, steps: range) -> list[int]:
    return [int(value) for step in steps for value in batches(step)["x"][:, 0]]


# -- passes


def test_every_example_is_seen_once_a_pass_in_another_order_each_time() -> None:
    batches = ArrayBatches(NUMBERS, Share(8, 0))
    first, second = seen(batches, range(5)), seen(batches, range(5, 10))
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_the_batch_of_a_step_is_a_function_of_the_step_and_the_seed_alone() -> None:
    batches = ArrayBatches(NUMBERS, Share(8, 0))
    stream = [batches(step)["x"] for step in range(12)]
    for step in (11, 0, 7, 3):
        assert torch.equal(ArrayBatches(NUMBERS, Share(8, 0))(step)["x"], stream[step])  # without the ones before
        assert torch.equal(batches(step)["x"], stream[step])
        assert not torch.equal(ArrayBatches(NUMBERS, Share(8, 1))(step)["x"], stream[step])


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_the_shares_of_the_processes_partition_a_batch(processes: int) -> None:
    whole = Passes(40, Share(8, 0))(3)
    shares = [Passes(40, Share(8, 0, rank=rank, processes=processes))(3) for rank in range(processes)]
    assert all(len(share) for share in shares)
    assert torch.equal(torch.cat(shares).sort().values, whole.sort().values)


def test_examples_beyond_the_last_full_batch_wait_for_another_pass() -> None:
    batches = ArrayBatches({"x": np.arange(11.0)[:, None]}, Share(4, 0))
    assert batches.per_epoch == 2
    passes = [seen(batches, range(2 * number, 2 * number + 2)) for number in range(30)]
    assert all(len(set(one)) == 8 for one in passes)
    assert {value for one in passes for value in one} == set(range(11))


def test_an_epoch_is_a_pass_unless_its_steps_are_given() -> None:
    assert ArrayBatches(NUMBERS, Share(8, 0)).per_epoch == 5
    assert ArrayBatches(NUMBERS, Share(8, 0, steps_per_epoch=2)).per_epoch == 2
    assert ArrayBatches(NUMBERS, Share(8, 0, steps_per_epoch=50)).per_epoch == 50


def test_the_steps_of_an_epoch_change_no_batch() -> None:
    plain, long = (ArrayBatches(NUMBERS, Share(8, 0, steps_per_epoch=steps)) for steps in (0, 7))
    assert seen(plain, range(20)) == seen(long, range(20))


def test_a_fraction_of_the_examples_is_used_and_no_other() -> None:
    batches = ArrayBatches(NUMBERS, Share(4, 0, train_fraction=0.3))
    assert batches.per_epoch == 3
    assert sorted(seen(batches, range(3))) == list(range(12))
    assert set(seen(batches, range(300))) == set(range(12))


@pytest.mark.parametrize(
    ("share", "examples", "told"),
    [
        (Share(64, 0, name="vae"), 40, "models.vae.batch_size: expected 1 to 40 (training examples), got 64"),
        (
            Share(3, 0, processes=4, name="vae"),
            40,
            "models.vae.batch_size: expected a multiple of 4 (processes) to 40 (training examples), got 3",
        ),
        (
            Share(3, 0, processes=4, name="vae"),
            None,
            "models.vae.batch_size: expected a multiple of 4 (processes) or more, got 3",
        ),
        (
            Share(10, 0, processes=4, name="vae"),
            40,
            "models.vae.batch_size: expected a multiple of 4 (processes) to 40 (training examples), got 10",
        ),
    ],
)
def test_a_batch_that_processes_cannot_share_equally_or_that_exceeds_the_data_is_refused(
    share: Share, examples: int | None, told: str
) -> None:
    with pytest.raises(UserError) as error:
        check_batch_size(share, examples)
    assert str(error.value) == told


def test_a_fraction_with_fewer_examples_than_a_batch_is_refused() -> None:
    with pytest.raises(UserError, match=r"batch_size: expected 1 to 4 \(training examples\), got 8"):
        Passes(40, Share(8, 0, train_fraction=0.1))


# -- arrays


def write(folder: Path, *splits: str) -> Path:
    draw = np.random.default_rng(0)
    made = {split: draw.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8) for split in splits}
    made |= {f"{split}_labels": np.arange(20) % 3 for split in splits}
    arrays.write(folder, made, {"shape": [3, 4, 4], "kind": "toy"})
    return folder


def test_images_arrive_as_floats_in_the_unit_range_with_their_labels(tmp_path: Path) -> None:
    folder = write(tmp_path / "toy", "train", "test")
    batches = loaders.read(folder, Share(5, 0))
    content = arrays.load(folder, "train")
    pairs = {
        (image.tobytes(), int(label))
        for image, label in zip(as_images(np.array(content["x"])).numpy(), content["labels"], strict=True)
    }
    for step in range(4):
        batch = batches(step)
        assert batch["x"].shape == (5, 3, 4, 4)
        assert 0 <= float(batch["x"].min()) <= float(batch["x"].max()) <= 1
        for image, label in zip(batch["x"], batch["labels"], strict=True):
            assert (image.contiguous().numpy().tobytes(), int(label)) in pairs


def test_the_validation_split_is_read_in_order_where_there_is_one(tmp_path: Path) -> None:
    assert list(loaders.read(write(tmp_path / "without", "train", "test"), Share(8, 0)).validation()) == []
    folder = write(tmp_path / "with", "train", "validation")
    batches = loaders.read(folder, Share(8, 0))
    parts = list(batches.validation())
    assert [len(part["x"]) for part in parts] == [8, 8, 4]
    content = arrays.load(folder, "validation")
    assert torch.equal(torch.cat([part["x"] for part in parts]), as_images(np.array(content["x"])))
    assert torch.equal(torch.cat([part["labels"] for part in parts]), torch.from_numpy(np.array(content["labels"])))


def test_what_is_not_an_image_arrives_as_it_is(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    arrays.write(tmp_path / "toy", {"train": table}, {"shape": [3], "kind": "toy"})
    batch = loaders.read(tmp_path / "toy", Share(10, 0))(0)["x"]
    assert torch.equal(batch.sort(0).values, torch.from_numpy(table).sort(0).values)


def test_a_missing_data_set_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"statistics\.json: no such file; run `dvc repro`"):
        loaders.read(tmp_path / "none", Share(8, 0))


# -- arrays larger than memory, and augmentation


@pytest.fixture
def nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without free memory: batches are read ahead."""
    monkeypatch.setattr(batches_of_arrays, "KEPT", 0.0)


def sharded(folder: Path, n: int = 40, side: int = 8) -> Path:
    """Images in shards of 16, with labels."""
    folder.mkdir(parents=True)
    x = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    for number, part in enumerate(np.split(x, range(16, n, 16))):
        np.save(folder / f"train-{number:05d}.npy", part)
    np.save(folder / "train_labels.npy", np.arange(n) % 3)
    arrays.describe(folder, {"shape": [3, side, side], "kind": "toy", "labels": ["a", "b", "c"]})
    return folder


def test_a_split_is_kept_on_the_device_where_it_fits_and_read_ahead_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sharded(tmp_path / "toy")
    size = 40 * (8 * 8 * 3 + 8)
    for free, kept in ((4 * size, True), (4 * size - 4, False)):
        monkeypatch.setattr(batches_of_arrays, "free", lambda share, free=free: free)
        batches = loaders.read(folder, Share(8, 0))
        assert isinstance(batches, ArrayBatches)
        assert bool(batches.kept) is kept


def test_what_is_kept_is_the_same_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_of_arrays, "PART", 7)
    folder = sharded(tmp_path / "toy")
    batches = loaders.read(folder, Share(8, 0))
    assert isinstance(batches, ArrayBatches)
    whole = arrays.load(folder, "train")
    for name in ("x", "labels"):
        assert np.array_equal(batches.kept[name].numpy(), np.asarray(whole[name][:40]))


def test_the_free_memory_of_a_host_is_shared_by_its_processes_and_ends_at_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free(Share(8, 0)) > 1 << 20
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.free(Share(8, 0)) == 400
    assert memory.free(Share(8, 0, processes=4)) == 100


@pytest.mark.usefixtures("nothing_fits")
def test_batches_that_are_read_ahead_are_those_of_a_split_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, share = sharded(tmp_path / "toy"), Share(8, 0, train_fraction=0.8, flip=True, shift=2)
    ahead = loaders.read(folder, share)
    monkeypatch.setattr(batches_of_arrays, "KEPT", 1.0)
    kept = loaders.read(folder, share)
    assert isinstance(ahead, ArrayBatches)
    assert isinstance(kept, ArrayBatches)
    assert kept.kept
    assert not ahead.kept
    for step in (0, 1, 2, 3, 4, 9, 0, 5, 5, 4):  # in order, and anywhere
        one, other = ahead(step), kept(step)
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name])
            assert one[name].stride() == other[name].stride()  # sums are taken in the order of memory


def test_a_training_ends_in_the_same_bytes_whether_its_data_are_kept_or_read_ahead(
    tmp_path: Path, devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, weights = sharded(tmp_path / "toy"), set()
    for kept in (0.0, 1.0):
        for kill_at in (-1, 7):
            monkeypatch.setattr(batches_of_arrays, "KEPT", kept)
            work = tmp_path / f"work-{kept}-{kill_at}"
            if kill_at >= 0:
                with pytest.raises(KillError):
                    run(folder, devices, work, kill_at, flip=True, shift=1)
            weights.add(digest(run(folder, devices, work, flip=True, shift=1)))
    assert len(weights) == 1


@pytest.mark.usefixtures("nothing_fits")
def test_a_file_that_goes_away_is_told_at_the_step_that_wants_it(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "toy")
    batches = loaders.read(folder, Share(40, 0))
    with (folder / "train-00001.npy").open("r+b") as file:
        file.truncate(500)
    with pytest.raises(UserError, match=r"train-00001.npy: cut short; run `dvc repro`"):
        batches(0)


def test_what_is_read_ahead_is_read_once_and_no_more_than_wanted() -> None:
    read: list[int] = []
    ahead = Ahead(lambda step: read.append(step) or step, 3)
    assert [ahead(step) for step in (5, 6, 7, 8)] == [5, 6, 7, 8]
    assert ahead(8) == 8
    assert sorted(set(read)) == sorted({*range(5, 12), 8})
    assert len(ahead._waiting) == 3


SQUARES = {"x": np.random.default_rng(1).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)}


def moved(image: np.ndarray, mirror: bool, down: int, right: int) -> np.ndarray:
    """The definition: mirror, then look through a window into the picture continued by mirroring."""
    image = image[:, ::-1] if mirror else image
    height, width = image.shape[:2]
    return np.pad(image, ((9, 9), (9, 9), (0, 0)), "symmetric")[9 + down : 9 + down + height, 9 + right : 9 + right + width]


def test_an_augmented_image_is_mirrored_or_not_and_moved_within_its_bounds() -> None:
    plain = ArrayBatches(SQUARES, Share(12, 0))
    batches = ArrayBatches(SQUARES, Share(12, 0, flip=True, shift=2))
    found = set()
    for step in range(20):
        for before, after in zip(plain(step)["x"], batches(step)["x"], strict=True):
            image = (before * 255).round().byte().permute(1, 2, 0).numpy()
            wanted = (after * 255).round().byte().permute(1, 2, 0).numpy()
            ways = [
                (mirror, down, right)
                for mirror in (False, True)
                for down in range(-2, 3)
                for right in range(-2, 3)
                if np.array_equal(moved(image, mirror, down, right), wanted)
            ]
            assert len(ways) == 1
            found.add(ways[0])
    assert len(found) == 50  # all of them


def test_a_picture_moved_by_more_than_its_size_is_mirrored_again_and_again() -> None:
    assert ArrayBatches(SQUARES, Share(12, 0, shift=40))(0)["x"].shape == (12, 3, 6, 5)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_augmentation_of_a_step(processes: int) -> None:
    whole = ArrayBatches(SQUARES, Share(8, 0, flip=True, shift=2))(3)["x"]
    for rank in range(processes):
        share = Share(8, 0, rank=rank, processes=processes, flip=True, shift=2)
        assert torch.equal(ArrayBatches(SQUARES, share)(3)["x"], whole[rank::processes])


def test_another_step_and_another_seed_draw_another_augmentation() -> None:
    image = {"x": np.repeat(SQUARES["x"][:1], 8, 0)}
    drawn = [ArrayBatches(image, Share(8, seed, flip=True, shift=2))(step)["x"] for seed, step in ((0, 0), (0, 1), (1, 0))]
    assert not any(torch.equal(a, b) for a, b in ((drawn[0], drawn[1]), (drawn[0], drawn[2])))


def test_validation_images_stay_as_they_are() -> None:
    batches = ArrayBatches(SQUARES, Share(12, 0, flip=True, shift=2), SQUARES)
    assert torch.equal(next(batches.validation())["x"], as_images(SQUARES["x"]))


@pytest.mark.parametrize(("changes", "told"), [({"flip": True}, "flip: expected false"), ({"shift": 3}, "shift: expected 0")])
def test_what_is_no_image_is_not_augmented(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=rf"models.toy.{told}, as the examples are no images; got"):
        ArrayBatches(NUMBERS, Share(8, 0, name="toy", **changes))


def test_a_model_s_block_says_how_its_training_images_are_augmented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, weights = sharded(Path("data/prepared/toy"), side=16), set()
    for changes in ({}, {"flip": True}, {"shift": 2}):
        models = {"toy": block("vae", epochs=1, **changes)}
        given = Params(seed=0, precision="fp32", threads=1, checkpoint_seconds=0, launcher="python", datasets={}, models=models)
        training.run("toy", given, folder, Path("models/toy"))
        weights.add(Path("models/toy/model.safetensors").read_bytes())
    assert len(weights) == 3


# -- tiles of sections


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Blurred noise of four brains, prepared with a validation brain."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with h5py.File("sections.h5", "w") as file:
        for brain, count in {"a": 3, "b": 3, "c": 2, "d": 1}.items():
            for number in range(count):
                coarse = rng.integers(0, 256, (8, 9)).astype(np.uint8)
                file[f"{brain}/{number}"] = np.kron(coarse, np.ones((5, 5), np.uint8))
    return prepare("fewest_images")


def prepare(validation: str) -> Path:
    config = brains.Config(kind="brains", source="file", path="sections.h5", tile=16, validation_brain=validation)
    with folders.replacing(Path("raw/toy")) as part:
        brains.download(config, part)
    made, description = brains.prepare(config, Path("raw/toy"), 0)
    description |= {"dataset": "toy", "kind": "brains", "source": "file", "loader": brains.LOADER}
    arrays.write(Path("prepared/toy"), made, description)
    return Path("prepared/toy")


def of_tiles(folder: Path, **changes: Any) -> TrainedModel:
    config = block("vae", latent_dim=3, channels=[2, 4], batch_norm=False, standardise=True, epochs=3, **changes)
    model = families.build(families.config(config, "toy"), DataSpec.of("toy", arrays.statistics(folder)))
    assert isinstance(model, TrainedModel)
    return model


class KillError(Exception):
    pass


def run(folder: Path, devices: Devices, work: Path, kill_at: int = -1, **changes: Any) -> TrainedModel:
    """Train on tiles, perhaps until a kill."""
    work.mkdir(exist_ok=True)
    model = of_tiles(folder, **changes)
    config = model.config
    read = loaders.read(folder, Share(config.batch_size, 0, config.steps_per_epoch, flip=config.flip, shift=config.shift))

    class Interrupted:
        per_epoch, validation = read.per_epoch, read.validation

        def __call__(self, step: int) -> dict[str, torch.Tensor]:
            if step == kill_at:
                raise KillError
            return read(step)

    return train(model, Interrupted(), devices, name="toy", seed=0, folder=work, checkpoint_seconds=0)


def digest(model: TrainedModel) -> str:
    return hashlib.sha256(safetensors.torch.save({k: v.contiguous() for k, v in model.state_dict().items()})).hexdigest()


def test_the_statistics_of_sections_say_that_tiles_are_read_of_them(prepared: Path) -> None:
    assert isinstance(loaders.read(prepared, Share(8, 0, 5)), TileBatches)


def test_a_model_of_tiles_knows_the_training_pixels_mean_and_deviation(prepared: Path) -> None:
    data, pixels = of_tiles(prepared).data, arrays.statistics(prepared)["splits"]["train"]
    assert (data.mean, data.std) == (pixels["mean"] / 255, pixels["std"] / 255)


def test_tiles_arrive_as_grey_images_in_the_unit_range(prepared: Path) -> None:
    x = loaders.read(prepared, Share(8, 0, 5))(0)["x"]
    assert x.shape == (8, 1, 16, 16)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


def test_tiles_of_a_step_are_a_function_of_the_step_though_they_are_read_ahead(prepared: Path) -> None:
    batches = loaders.read(prepared, Share(8, 0, 5))
    stream = [batches(step)["x"] for step in range(4)]
    assert not torch.equal(stream[0], stream[1])
    for step in (3, 0, 0, 2):
        assert torch.equal(batches(step)["x"], stream[step])
        assert torch.equal(loaders.read(prepared, Share(8, 0, 5))(step)["x"], stream[step])


def test_processes_share_the_tiles_of_a_step(prepared: Path) -> None:
    whole = loaders.read(prepared, Share(10, 0, 5))(2)["x"]
    for rank in (0, 1):
        assert torch.equal(loaders.read(prepared, Share(10, 0, 5, rank=rank, processes=2))(2)["x"], whole[rank::2])


def test_the_validation_tiles_are_of_the_validation_brain_alone_and_always_the_same(prepared: Path) -> None:
    batches = loaders.read(prepared, Share(8, 0, 5))
    assert isinstance(batches, TileBatches)
    assert batches.held_out is not None
    assert {name[0] for name in batches.held_out.names} == {"c"}
    assert {name[0] for name in batches.tiles.names} == {"a", "b"}
    once, again = (torch.cat([part["x"] for part in batches.validation()]) for _ in range(2))
    assert torch.equal(once, again)
    assert len(once) == 2048


def test_without_a_validation_brain_there_are_no_validation_tiles(prepared: Path) -> None:
    assert list(loaders.read(prepare("none"), Share(8, 0, 5)).validation()) == []


def test_patience_without_a_validation_brain_is_one_clear_line(prepared: Path, devices: Devices, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"models.toy.patience: 1 epochs .* toy has no validation split; .* or set patience: 0"):
        run(prepare("none"), devices, tmp_path / "work", steps_per_epoch=5, patience=1)


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (Share(8, 0, name="toy"), r"models.toy.steps_per_epoch: expected 1 or more, as tiles never run out; got 0"),
        (Share(8, 0, 5, 0.5, name="toy"), r"models.toy.train_fraction: expected 1, as tiles cannot be counted; got 0.5"),
        (Share(8, 0, 5, flip=True, name="toy"), r"models.toy.flip: expected false, as tiles are taken anywhere .*; got true"),
        (Share(8, 0, 5, shift=1, name="toy"), r"models.toy.shift: expected 0, as tiles are taken anywhere .*; got 1"),
        (
            Share(1, 0, 5, processes=2, name="toy"),
            r"models.toy.batch_size: expected a multiple of 2 \(processes\) or more, got 1",
        ),
    ],
)
def test_what_tiles_cannot_give_is_refused_by_name(prepared: Path, share: Share, told: str) -> None:
    with pytest.raises(UserError, match=told):
        loaders.read(prepared, share)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation of 64 tiles."""
    monkeypatch.setattr(tiles, "VALIDATED", 64)


def test_a_model_learns_from_tiles(prepared: Path, devices: Devices, tmp_path: Path) -> None:
    run(prepared, devices, tmp_path / "work", steps_per_epoch=20, learning_rate=2e-2, output_std=1.0, beta=0.0)
    with (tmp_path / "work/history.csv").open() as file:
        distortions = [float(row["distortion"]) for row in csv.DictReader(file)]
    assert distortions[-1] < distortions[0] - 10


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("patience", [0, 1])
def test_a_training_on_tiles_killed_at_any_step_resumes_to_the_same_bytes(
    patience: int, prepared: Path, devices: Devices, tmp_path: Path
) -> None:
    whole = digest(run(prepared, devices, tmp_path / "whole", steps_per_epoch=5, patience=patience))
    for step in (1, 5, 13):  # in an epoch, at its end, in the last
        work = tmp_path / f"killed{step}"
        with pytest.raises(KillError):
            run(prepared, devices, work, kill_at=step, steps_per_epoch=5, patience=patience)
        assert digest(run(prepared, devices, work, steps_per_epoch=5, patience=patience)) == whole
