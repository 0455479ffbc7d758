"""The training loop: learns, resumes to the same bytes, and stops at a loss that is not finite."""

from __future__ import annotations

import csv
import hashlib
import math
from pathlib import Path

import pytest
import safetensors.torch
import torch

from regen.data.loaders.arrays import ArrayBatches
from regen.errors import UserError
from regen.models.base import TrainedModel
from regen.training import checkpoint
from regen.training.distributed import Devices, start_all
from regen.training.loop import scheduled, train
from tests.conftest import build

FAMILIES = ("classifier", "autoencoder", "vae", "gan")


class KillError(Exception):
    pass


class Interrupted(ArrayBatches):
    """Batches that end the process, as it were, before one step."""

    at = -1

    def __call__(self, step):
        if step == self.at:
            raise KillError
        return super().__call__(step)


def run(model, toy, devices, folder, kill_at=-1, **options):
    folder.mkdir(exist_ok=True)
    batches = Interrupted(toy, model.config.batch_size, 0, devices)
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
        torch.manual_seed(123 + step)  # nothing may hang on the state of the global generator
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
    batches = ArrayBatches(toy, 8, 0, devices)
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


def test_a_loss_that_is_not_finite_stops_and_names_the_step_and_keeps_the_last_good_state(toy, devices, tmp_path):
    model = build("vae")

    class Poisoned(Interrupted):
        def __call__(self, step):
            batch = super().__call__(step)
            return {**batch, "x": batch["x"] * (math.nan if step == 7 else 1)}

    batches = Poisoned(toy, 8, 0, devices)
    with pytest.raises(UserError, match=r"toy: the loss is not finite at step 7; .*learning_rate"):
        train(model, batches, devices, name="toy", seed=0, folder=tmp_path, checkpoint_seconds=0)
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    tensors, state = saved
    assert state["step"] == 7
    assert all(bool(t.isfinite().all()) for t in tensors.values())


def test_progress_pictures_show_the_first_middle_and_last_epoch(toy, devices, tmp_path):
    run(build("vae", epochs=5), toy, devices, tmp_path)
    assert sorted(p.name for p in (tmp_path / "progress").iterdir()) == ["epoch_0001.png", "epoch_0003.png", "epoch_0005.png"]


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


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "linear_tail"])
def test_schedules_stay_within_zero_and_the_peak(schedule):
    rates = [scheduled(schedule, t / 1000) for t in range(1000)]
    assert max(rates) == pytest.approx(1, abs=1e-3)
    assert min(rates) >= 0
    assert schedule == "constant" or rates[-1] < 0.01


def test_a_batch_larger_than_the_data_is_refused_by_name(toy, devices):
    with pytest.raises(UserError, match=r"models.vae.batch_size: expected 1 .* to 40 .*, got 64"):
        ArrayBatches(toy, 64, 0, devices, "vae")


def test_every_example_is_seen_once_an_epoch_in_another_order_each_time(devices):
    arrays = {"x": torch.arange(40.0)[:, None]}
    batches = ArrayBatches(arrays, 8, 0, devices)
    epochs = [torch.cat([batches(5 * epoch + i)["x"][:, 0] for i in range(5)]) for epoch in (0, 1)]
    assert all(sorted(epoch.tolist()) == list(range(40)) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_processes_share_a_batch_without_overlap(devices):
    arrays = {"x": torch.arange(40.0)[:, None]}
    whole = ArrayBatches(arrays, 8, 0, devices)(3)["x"]
    shares = []
    for rank in (0, 1):
        part = Devices("fp32", threads=1)
        part.rank, part.world_size = rank, 2
        shares.append(ArrayBatches(arrays, 8, 0, part)(3)["x"])
    assert sorted(torch.cat(shares)[:, 0].tolist()) == sorted(whole[:, 0].tolist())


def test_history_is_readable_at_every_moment(toy, devices, tmp_path):
    run(build("vae"), toy, devices, tmp_path)
    assert not list(Path(tmp_path).glob("*.partial"))
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,step,examples,distortion,rate,loss"  # DVC plots the last column


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


@pytest.mark.parametrize("asked", [["--num_processes", "2", "--cpu"], ["--cpu", "--num-processes=2"]])
def test_the_processes_that_accelerate_leaves_to_mpi_are_started(monkeypatch, asked):
    """On CPUs it sets the address of the first process for `--num_processes 2`, but no RANK: it starts one."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr("sys.argv", ["stages/train.py", "toy"])
    monkeypatch.setattr("psutil.Process.cmdline", lambda self: ["accelerate", "launch", *asked, "stages/train.py", "toy"])
    started = []
    monkeypatch.setattr("os.execv", lambda path, command: started.append(command[1:]))
    start_all()
    assert started == [["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "stages/train.py", "toy"]]
    monkeypatch.setenv("RANK", "0")  # as in those processes, which inherit the rest
    start_all()
    assert len(started) == 1


def test_a_number_of_processes_that_accelerate_alone_knows_is_one_line(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr("psutil.Process.cmdline", lambda self: ["accelerate", "launch", "stages/train.py", "toy"])
    with pytest.raises(UserError, match="torchrun --nproc_per_node N"):
        start_all()
