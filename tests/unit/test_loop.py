"""The training loop: learns, resumes to the same bytes, and stops at a loss that is not finite."""

from __future__ import annotations

import csv
import hashlib
import math
import shutil
import threading

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from regen.data.loaders import Share
from regen.data.loaders.arrays import ArrayBatches
from regen.errors import UserError
from regen.models.base import TrainedModel
from regen.training import checkpoint, loop
from regen.training.loop import scheduled, since_best, train
from regen.training.records import write_preview
from tests.conftest import build, compiling, toy_images

FAMILIES = ("classifier", "autoencoder", "vae", "vade", "gan")


class KillError(Exception):
    pass


class Interrupted(ArrayBatches):
    """Batches that end the process, as it were, before one step."""

    at = -1

    def __call__(self, step):
        if step == self.at:
            raise KillError
        return super().__call__(step)


def run(model, toy, devices, folder, kill_at=-1, validation=None, **options):
    folder.mkdir(exist_ok=True)
    batches = Interrupted(toy, Share(model.config.batch_size, 0), validation)
    batches.at = kill_at
    return train(model, batches, devices, name="toy", seed=0, folder=folder, **options)


def digest(model: TrainedModel) -> str:
    return hashlib.sha256(safetensors.torch.save({k: v.contiguous() for k, v in model.state_dict().items()})).hexdigest()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_training_killed_at_any_step_resumes_to_the_same_bytes(family, ema, toy, devices, tmp_path):
    whole = digest(run(build(family, ema=ema), toy, devices, tmp_path / "whole"))
    for step in (1, 4, 5, 8):  # in an epoch, at its end, at the start of the next, in it
        with pytest.raises(KillError):
            run(build(family, ema=ema), toy, devices, tmp_path / f"killed{step}", kill_at=step, checkpoint_seconds=0)
        torch.manual_seed(123 + step)  # nothing may depend on the state of the global generator
        model = build(family, ema=ema)
        assert digest(run(model, toy, devices, tmp_path / f"killed{step}")) == whole
        assert (tmp_path / f"killed{step}/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()


def test_resuming_does_not_repeat_steps(toy, devices, tmp_path, capsys):
    with pytest.raises(KillError):
        run(build("vae"), toy, devices, tmp_path, kill_at=7, checkpoint_seconds=0)
    run(build("vae"), toy, devices, tmp_path)
    assert "resumes at step 7" in capsys.readouterr().err


def test_how_often_a_checkpoint_is_written_changes_no_result(toy, devices, tmp_path):
    often = digest(run(build("vae"), toy, devices, tmp_path / "often", checkpoint_seconds=0))
    never = digest(run(build("vae"), toy, devices, tmp_path / "never", checkpoint_seconds=math.inf))
    assert often == never


def test_another_seed_gives_other_weights(toy, devices, tmp_path):
    batches = ArrayBatches(toy, Share(8, 0))
    trained = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        trained.append(digest(train(build("vae"), batches, devices, name="toy", seed=seed, folder=tmp_path / str(seed))))
    assert trained[0] != trained[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_training_changes_every_weight_and_lowers_the_loss_where_one_network_minimises_it(family, toy, devices, tmp_path):
    model = build(family, epochs=12, learning_rate=3e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    after = run(model, toy, devices, tmp_path)
    assert [name for name, p in after.named_parameters() if torch.equal(p, before[name])] == []
    history = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [int(row["epoch"]) for row in history] == list(range(1, 13))
    if family != "gan":
        assert (
            float(history[-1]["loss"]) < 0.9 * float(history[0]["loss"])
            or float(history[-1]["loss"]) < float(history[0]["loss"]) - 50
        )


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_training_whose_last_checkpoint_was_altered_goes_on_from_the_one_before_to_the_same_weights(
    family, toy, devices, tmp_path, capsys
):
    whole = digest(run(build(family), toy, devices, tmp_path / "whole"))
    with pytest.raises(KillError):
        run(build(family), toy, devices, tmp_path / "killed", kill_at=7, checkpoint_seconds=0)
    path = tmp_path / "killed" / checkpoint.FILE
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x40  # in a weight
    path.write_bytes(content)
    assert digest(run(build(family), toy, devices, tmp_path / "killed")) == whole
    said = capsys.readouterr().err
    assert "damaged checkpoint" in said
    assert "toy: resumes at step 6" in said


def test_a_loss_that_is_not_finite_stops_and_names_the_step_and_keeps_the_last_good_state(toy, devices, tmp_path):
    model = build("vae")

    class Poisoned(Interrupted):
        def __call__(self, step):
            batch = super().__call__(step)
            return {**batch, "x": batch["x"] * (math.nan if step == 7 else 1)}

    batches = Poisoned(toy, Share(8, 0))
    with pytest.raises(UserError, match=r"toy: the loss is not finite at step 7; .*learning_rate"):
        train(model, batches, devices, name="toy", seed=0, folder=tmp_path, checkpoint_seconds=0)
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    tensors, state = saved
    assert state["step"] == 7
    assert all(bool(t.isfinite().all()) for t in tensors.values())


def test_progress_pictures_are_of_epochs_that_double_and_of_the_last(toy, devices, tmp_path):
    run(build("vae", epochs=5), toy, devices, tmp_path)
    epochs = [int(path.stem.removeprefix("epoch_")) for path in sorted((tmp_path / "progress").iterdir())]
    assert epochs == [1, 2, 4, 5]


def test_averaged_weights_are_the_moving_average_of_the_weights(toy, devices, tmp_path):
    plain = run(build("vae", epochs=1), toy, devices, tmp_path / "plain")
    averaged = run(build("vae", epochs=1, ema=0.5), toy, devices, tmp_path / "ema")
    steps = []
    for step in range(1, 6):  # the weights after each step, by training to it and being killed
        with pytest.raises(KillError):
            run(build("vae", epochs=2), toy, devices, tmp_path / f"step{step}", kill_at=step, checkpoint_seconds=0)
        saved = checkpoint.load(tmp_path / f"step{step}")
        assert saved is not None
        steps.append(checkpoint.parts(saved[0])["model"]["encoder.0.weight"])
    expected = build("vae").encoder[0].weight.detach()
    for step, weight in enumerate(steps, start=1):
        decay = min(0.5, step / (step + 9))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(averaged.encoder[0].weight.detach(), expected)
    assert not torch.equal(averaged.encoder[0].weight, plain.encoder[0].weight)


def test_examples_some_at_a_time_give_the_gradient_of_all(devices, tmp_path):
    letters = {"x": np.random.default_rng(0).integers(0, 2, (40, 5, 5, 1)).astype(np.uint8)}
    rows, weights = {}, {}
    for size in (0, 8, 3, 1):  # of batches of 8; the network draws nothing and takes no means over a batch
        model = run(build("pixel_lstm", epochs=3, microbatch=size), letters, devices, tmp_path / str(size))
        rows[size] = [list(map(float, row.values())) for row in csv.DictReader((tmp_path / f"{size}/history.csv").open())]
        weights[size] = torch.nn.utils.parameters_to_vector(model.parameters())
    assert torch.equal(weights[8], weights[0])
    assert not torch.equal(weights[3], weights[0])  # sums of another order
    for size in (3, 1):
        torch.testing.assert_close(weights[size], weights[0], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(rows[size], rows[0], rtol=1e-3)


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_training_of_some_examples_at_a_time_resumes_to_the_same_bytes(family, toy, devices, tmp_path):
    whole = digest(run(build(family, microbatch=4), toy, devices, tmp_path / "whole"))
    with pytest.raises(KillError):
        run(build(family, microbatch=4), toy, devices, tmp_path / "killed", kill_at=7, checkpoint_seconds=0)
    assert digest(run(build(family, microbatch=4), toy, devices, tmp_path / "killed")) == whole
    assert whole != digest(run(build(family), toy, devices, tmp_path / "at_once"))  # batch normalisation sees four at a time


def test_a_checkpoint_is_written_while_the_training_goes_on(tmp_path, monkeypatch):
    go, save = threading.Event(), checkpoint.save

    def slowly(*given):
        assert go.wait(60)
        save(*given)

    monkeypatch.setattr(checkpoint, "save", slowly)
    weight, history = torch.zeros(3), [{"epoch": 1.0}]
    with checkpoint.Writer(tmp_path) as writer:
        writer.save({"model/weight": weight}, {"step": 1, "history": history})
        weight += 1  # the training's next step
        history.append({"epoch": 2.0})
        assert checkpoint.load(tmp_path) is None
        go.set()
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert torch.equal(saved[0]["model/weight"], torch.zeros(3))
    assert saved[1] == {"step": 1, "history": [{"epoch": 1.0}]}


@pytest.mark.parametrize("more", [0, 1])
def test_a_checkpoint_that_cannot_be_written_ends_the_training(more, tmp_path):
    begun = []

    def steps() -> None:
        with checkpoint.Writer(tmp_path / "nowhere") as writer:
            for step in range(1 + more):
                writer.save({"model/weight": torch.zeros(3)}, {"step": step})
                begun.append(step)

    with pytest.raises(FileNotFoundError, match="nowhere"):
        steps()
    assert begun == [0]  # the second raises what became of the first


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_a_training_s_own_error_is_not_hidden_by_that_of_its_checkpoint(error, tmp_path):
    def ended() -> None:
        with checkpoint.Writer(tmp_path / "nowhere") as writer:
            writer.save({"model/weight": torch.zeros(3)}, {"step": 1})
            raise error

    with pytest.raises(error):
        ended()


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler, which torch.compile needs")
def test_a_compiled_training_is_the_same_but_for_rounding_and_resumes_to_its_bytes(tmp_path):
    program = """
from contextlib import suppress
from pathlib import Path
import torch
from regen.training.distributed import Devices
from tests.conftest import build, compiling, toy_images
from tests.unit.test_loop import KillError, digest, run
toy, devices = toy_images(), Devices("fp32", threads=1)
compiled = run(build("autoencoder", compile=True), toy, devices, Path("compiled"))
plain = run(build("autoencoder"), toy, devices, Path("plain"))
assert digest(compiled) != digest(plain)
for one, other in zip(compiled.parameters(), plain.parameters(), strict=True):
    torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)
with suppress(KillError):
    run(build("autoencoder", compile=True), toy, devices, Path("killed"), kill_at=7, checkpoint_seconds=0)
assert digest(run(build("autoencoder", compile=True), toy, devices, Path("killed"))) == digest(compiled)
"""
    done = compiling(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "toy: resumes at step 7" in done.stderr


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "linear_tail"])
def test_schedules_stay_within_zero_and_the_peak(schedule):
    rates = [scheduled(schedule, t / 1000) for t in range(1000)]
    assert max(rates) == pytest.approx(1, abs=1e-3)
    assert min(rates) >= 0
    assert schedule == "constant" or rates[-1] < 0.01


def test_history_is_readable_at_every_moment(toy, devices, tmp_path):
    run(build("vae"), toy, devices, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if "part" in path.suffix]
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,step,examples,learning_rate,distortion,gradient_norm,rate,loss"  # DVC plots the last column


def test_history_tells_the_rate_and_the_norm_of_each_network_s_gradient(toy, devices, tmp_path, monkeypatch):
    model, norms = build("gan", schedule="cosine"), []
    clip = torch.nn.utils.get_total_norm
    monkeypatch.setattr(torch.nn.utils, "get_total_norm", lambda gradients: norms.append(clip(gradients)) or norms[-1])
    run(model, toy, devices, tmp_path)
    first, *_, last = csv.DictReader((tmp_path / "history.csv").open())
    each = torch.stack(norms).view(int(last["epoch"]), -1, 2)  # (epochs, steps, networks)
    assert float(first["discriminator_gradient_norm"]) == pytest.approx(float(each[0, :, 0].mean()), rel=1e-4)
    assert float(last["generator_gradient_norm"]) == pytest.approx(float(each[-1, :, 1].mean()), rel=1e-4)
    total = each.shape[0] * each.shape[1]
    assert float(last["learning_rate"]) == pytest.approx(1e-3 * scheduled("cosine", (total - 1) / total), rel=1e-4)


def test_what_is_learned_first_has_a_schedule_of_its_own():
    times = [loop._time(step, 4, 10) for step in range(10)]
    assert times == pytest.approx([0, 1 / 4, 2 / 4, 3 / 4, 0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert [loop._time(step, 0, 2) for step in range(2)] == [0, 0.5]


class Steep(torch.autograd.Function):
    """Zero, with a slope that is not finite."""

    @staticmethod
    def forward(context, x):
        return torch.zeros(())

    @staticmethod
    def backward(context, slope):
        return slope * math.nan


def test_a_weight_that_is_not_finite_is_never_kept_though_every_loss_is(toy, devices, tmp_path, monkeypatch):
    model = build("vae")
    smooth, steps = model.loss, iter(range(100))

    def loss(batch, network):
        value, figures = smooth(batch, network)
        return (value + Steep.apply(value) if next(steps) == 6 else value), figures

    monkeypatch.setattr(model, "loss", loss)
    with pytest.raises(UserError, match=r"toy: a weight is not finite at step 7; .*learning_rate"):
        run(model, toy, devices, tmp_path, checkpoint_seconds=0)
    tensors, state = checkpoint.load(tmp_path)
    assert state["step"] == 6
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


# -- stopped by a validation split


@pytest.fixture
def told(monkeypatch):
    """Validation losses of the epochs, in place of those that are measured."""

    def tell(folder, *losses):
        def loss(model, batches, seed):
            return losses[len(rows(folder))]

        monkeypatch.setattr(loop, "validation_loss", loss)

    return tell


def rows(folder):
    path = folder / "history.csv"
    return list(csv.DictReader(path.open())) if path.exists() else []


VALIDATION = {name: value[:10] for name, value in toy_images().items()}


def test_it_stops_when_the_validation_loss_gets_no_better_and_keeps_the_best_weights(toy, devices, tmp_path, told):
    stopped, until = tmp_path / "stopped", tmp_path / "until"
    told(stopped, 5.0, 3.0, 4.0, 3.5, 1.0)
    found = digest(run(build("vae", epochs=5, patience=2), toy, devices, stopped, validation=VALIDATION))
    assert [row["validation_loss"] for row in rows(stopped)] == ["5", "3", "4", "3.5"]
    told(until, 5.0, 3.0)
    assert digest(run(build("vae", epochs=2, patience=5), toy, devices, until, validation=VALIDATION)) == found
    again = run(build("vae", epochs=5, patience=2), toy, devices, stopped, validation=VALIDATION)  # killed after its end
    assert digest(again) == found
    assert len(rows(stopped)) == 4


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_training_that_a_validation_split_stops_resumes_to_the_same_bytes(ema, toy, devices, tmp_path, told):
    changes = {"epochs": 4, "patience": 1, "ema": ema}
    told(tmp_path / "whole", 3.0, 2.0, 4.0)
    whole = digest(run(build("vae", **changes), toy, devices, tmp_path / "whole", validation=VALIDATION))
    for step in (1, 5, 11, 14):
        work = tmp_path / f"killed{step}"
        told(work, 3.0, 2.0, 4.0)
        with pytest.raises(KillError):
            run(build("vae", **changes), toy, devices, work, kill_at=step, validation=VALIDATION, checkpoint_seconds=0)
        assert digest(run(build("vae", **changes), toy, devices, work, validation=VALIDATION)) == whole


def test_the_validation_loss_is_the_mean_over_the_validation_split_with_the_same_draws_each_time():
    model = build("autoencoder").eval()
    batches = ArrayBatches(toy_images(), Share(8, 0), VALIDATION)  # a batch of 8 and one of 2
    with torch.no_grad():
        each = [model.loss({"x": image[None]}, "network")[0] for batch in batches.validation() for image in batch["x"]]
    assert loop.validation_loss(model, batches, 0) == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)
    noisy = build("vae").eval()
    assert loop.validation_loss(noisy, batches, 0) == loop.validation_loss(noisy, batches, 0)
    assert loop.validation_loss(noisy, batches, 0) != loop.validation_loss(noisy, batches, 1)


def test_the_validation_split_teaches_nothing(toy, devices, tmp_path):
    plain = digest(run(build("vae"), toy, devices, tmp_path / "plain"))
    watched = run(build("vae", patience=100), toy, devices, tmp_path / "watched", validation=VALIDATION)
    losses = [float(row["validation_loss"]) for row in rows(tmp_path / "watched")]
    assert losses[1] < losses[0]  # so the last epoch's weights are kept
    assert digest(watched) == plain


def test_a_validation_loss_that_is_no_number_is_never_the_best():
    assert since_best([{"validation_loss": value} for value in (2.0, float("nan"), 3.0)]) == 2
    assert since_best([{"validation_loss": value} for value in (float("nan"), 3.0)]) == 0


def test_patience_without_a_validation_split_is_one_clear_line(toy, devices, tmp_path):
    with pytest.raises(
        UserError, match=r"models.toy.patience: 2 epochs .* toy has no validation split; .* set patience: 0"
    ) as error:
        run(build("vae", patience=2), toy, devices, tmp_path)
    assert "\n" not in str(error.value)


def test_patience_is_refused_of_networks_that_have_no_loss_in_common():
    with pytest.raises(UserError, match="gan: patience: expected 0, got 2"):
        build("gan", patience=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_progress_picture_shows_its_samples_row_by_row(tmp_path, channels):
    images = torch.arange(10).div(255).view(10, 1, 1, 1).expand(10, channels, 2, 2)
    model = type("Sampler", (), {"sample": lambda self, n, seed: images})()
    write_preview(model, {"x": images}, tmp_path, 1)
    with Image.open(tmp_path / "progress/epoch_0001.png") as picture:
        shown = np.asarray(picture).reshape(4, 16, channels)[::2, ::2, 0]
    assert shown.tolist() == [list(range(8)), [8, 9, *[0] * 6]]
