"""The training loop, for every model that is trained by gradient steps.

All randomness of step n comes from (seed, n), so the state of a training is its weights, its optimisers and n. Kill it
at any moment and start it again: it goes on from its last checkpoint to the same bytes.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from regen.data.loaders import Batches
from regen.errors import UserError
from regen.models.base import TrainedConfig, TrainedModel
from regen.seeding import derive_seed
from regen.training import checkpoint
from regen.training.distributed import Devices
from regen.training.optim import Adam
from regen.training.records import write_history, write_preview


def train(model: TrainedModel, batches: Batches, devices: Devices, *, name: str, seed: int, folder: Path,
          checkpoint_seconds: float = 20.0) -> TrainedModel:  # fmt: skip
    """Train `model` for `config.epochs` and return it with the weights that are to be evaluated.

    Args:
        model: to train; moved to the device.
        batches: the batch of any step.
        devices: where to compute, in which precision, with which other processes.
        name: of the model, for messages.
        seed: of every draw.
        folder: work folder: the checkpoint to resume from, history.csv, progress/*.png.
        checkpoint_seconds: about how much work a kill may cost at the most.

    Raises:
        UserError: a loss or a weight is not finite (the last good checkpoint stays in `folder`), or there is no validation split.

    With a `patience`, training stops after so many epochs without a better loss on the validation split, and the weights of the
    best epoch are returned.
    """
    config = model.config
    model.to(devices.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    networks = model.networks()
    optimizers = {network: _optimizer(config, parameters) for network, parameters in networks.items()}
    average = copy.deepcopy(model.averaged()).eval() if config.ema else None
    if config.compile:
        from torch._dynamo import config as compiler

        compiler.recompile_limit = 64  # of all networks together: beyond it they would run as they are
        for part in model.children():
            part.compile(dynamic=False)

    # Resume, or begin.
    step, history = 0, list[dict[str, float]]()
    sums: dict[str, Tensor] = {}  # of the figures since the epoch began, on the device
    best: dict[str, Tensor] | None = None  # weights of the epoch of the least validation loss
    patience = config.patience
    if patience and next(batches.validation(), None) is None:
        raise UserError(f"models.{name}.patience: {patience} epochs without a better validation loss, but {model.data.dataset} "
                        "has no validation split; choose one there, or set patience: 0")  # fmt: skip
    total = config.epochs * batches.per_epoch
    wanted = _tensors(_parts(model, average, optimizers))
    found = devices.from_first(lambda: checkpoint.load(
        folder, lambda tensors, state: checkpoint.fits(tensors, state, wanted, total, batches.per_epoch, bool(patience))
    ))  # fmt: skip
    if found is not None:
        tensors, state = found
        step, history = state["step"], state["history"]
        parts = checkpoint.parts(tensors)
        model.load_state_dict(parts["model"])
        if average is not None:
            average.load_state_dict(parts["average"])
        for network, optimizer in optimizers.items():
            optimizer.load(parts[network])
        sums = {figure: value.to(devices.device) for figure, value in parts.get("sums", {}).items()}
        best = parts.get("best")
        print(f"{name}: resumes at step {step}", file=sys.stderr)
    first_bad = torch.full((), -1, device=devices.device)  # first step whose loss was not finite: asked for now and then
    saved = started = time.monotonic()
    first = step
    if patience and history and since_best(history) >= patience:
        total = step
    progress = tqdm(total=total, initial=step, desc=name, unit="step", disable=None if devices.main else True, dynamic_ncols=True)

    with checkpoint.Writer(folder) as writer:
        while step < total:
            torch.manual_seed(derive_seed(seed, "step", step, devices.rank))
            if step and step == model.pretrained_at:
                model.eval().end_pretraining(batches(done)["x"] for done in range(max(0, step - batches.per_epoch), step))
                devices.agree(model.train())
            batch, model.step = batches(step), step
            share = scheduled(config.schedule, _time(step, model.pretrained_at, total))
            for network, parameters in networks.items():
                optimizer = optimizers[network]
                optimizer.zero_grad()
                loss, figures = _gradients(model, batch, network, list(parameters.values()), devices)
                devices.average_gradients(parameters.values())
                norm = nn.utils.get_total_norm([found.grad for found in parameters.values() if found.grad is not None])
                if config.gradient_clip:
                    nn.utils.clip_grads_with_norm_(parameters.values(), config.gradient_clip, norm)
                optimizer.step(model.learning_rate(network) * share)
                first_bad = torch.where((first_bad < 0) & ~torch.isfinite(loss), step, first_bad)
                figures = {**devices.means(figures), f"{network}_gradient_norm".removeprefix("network_"): norm}
                for figure, value in figures.items():
                    sums[figure] = sums.get(figure, 0) + value
            step += 1
            if average is not None:
                _update_average(average, model.averaged(), min(config.ema, step / (step + 9)))  # shorter memory at the start
            progress.update()

            # At the end of an epoch: a line of history, pictures. Now and then: a checkpoint.
            epoch, position = divmod(step, batches.per_epoch)
            due = step == total or time.monotonic() - saved > checkpoint_seconds
            if (due or position == 0) and (int(first_bad) >= 0 or not _finite(model)):
                what, where = ("the loss", int(first_bad)) if first_bad >= 0 else ("a weight", step)
                raise UserError(
                    f"{name}: {what} is not finite at step {where}; the last good state is kept; "
                    f"lower models.{name}.learning_rate (now {config.learning_rate}) or set gradient_clip"
                )
            if position == 0:
                ordered = sorted(sums.items(), key=lambda item: (item[0] == "loss", item[0]))  # DVC plots the last column
                means = {"learning_rate": config.learning_rate * share}
                means |= {figure: float(value / batches.per_epoch) for figure, value in ordered}
                devices.check_agreement(model)
                if patience:
                    now = _result(model, average)  # of batch normalisation's statistics, the first process's count
                    means["validation_loss"] = devices.from_first(partial(validation_loss, now, batches, seed))
                history.append({"epoch": epoch, "step": step, "examples": step * config.batch_size, **means})
                sums = {}
                if patience and since_best(history) == 0:
                    best = now.state_dict()
                elif patience and since_best(history) >= patience:
                    total, due = step, True
                if devices.main:
                    write_history(folder, history)
                    if epoch & (epoch - 1) == 0 or step == total:  # after 1, 2, 4, 8, ... epochs
                        write_preview(_result(model, average), batches(0), folder, epoch)
                    left = (time.monotonic() - started) / (step - first) * (total - step)
                    _report(progress, name, epoch, config.epochs, means, left)
            if due:
                if devices.main:
                    parts = _parts(model, average, optimizers) | {"sums": sums} | ({} if best is None else {"best": best})
                    writer.save(_tensors(parts), {"step": step, "history": history})
                saved = time.monotonic()
    progress.close()
    final = _result(model, average)
    if best is not None:
        final.load_state_dict(best)
    return final


@torch.no_grad()
def validation_loss(model: TrainedModel, batches: Batches, seed: int) -> float:
    """Return the mean loss over the validation split, with the same draws each time."""
    torch.manual_seed(derive_seed(seed, "validation"))
    (network,) = model.networks()
    losses = [(float(model.loss(batch, network)[0]), len(batch["x"])) for batch in batches.validation()]
    return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)


def since_best(history: list[dict[str, float]]) -> int:
    """Return the number of epochs since the one of the least validation loss; one that is NaN is never the least."""
    losses = [row["validation_loss"] if math.isfinite(row["validation_loss"]) else math.inf for row in history]
    return len(losses) - 1 - losses.index(min(losses))


def scheduled(schedule: str, t: float) -> float:
    """Return the share of the peak learning rate at time t in [0, 1) of the training.

    `cosine`: (1 + cos(pi t)) / 2. `one_cycle`: rises over the first 0.3, then a cosine (Smith and Topin 2019).
    `linear_tail`: constant, then linearly to 0 over the last half.
    """
    if schedule == "cosine":
        return (1 + math.cos(math.pi * t)) / 2
    if schedule == "one_cycle":
        rise = 0.3
        return (
            0.04 + 0.96 * (1 - math.cos(math.pi * t / rise)) / 2
            if t < rise
            else (1 + math.cos(math.pi * (t - rise) / (1 - rise))) / 2
        )
    if schedule == "linear_tail":
        return min(1.0, 2 * (1 - t))
    return 1.0


def _time(step: int, pretrained_at: int, total: int) -> float:
    """Return the time in [0, 1) within a training's phase: what is learned first, or what follows."""
    begin, end = (0, min(pretrained_at, total)) if step < pretrained_at else (pretrained_at, total)
    return (step - begin) / (end - begin)


def _gradients(model: TrainedModel, batch: dict[str, Tensor], network: str, parameters: list[nn.Parameter],
               devices: Devices) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """Add the gradients of one network's loss to its parameters, `microbatch` examples at a time; return loss and figures."""
    count = len(batch["x"])
    size = model.config.microbatch or count
    total, means = torch.zeros((), device=devices.device), dict[str, Tensor]()
    for start in range(0, count, size):
        some = {name: x if name in model.SHARED else x[start : start + size] for name, x in batch.items()}
        share = len(some["x"]) / count
        with devices.autocast():
            loss, figures = model.loss(some, network)
        (loss * share).backward(inputs=parameters)  # type: ignore[no-untyped-call]
        total = total + loss.detach() * share
        means = {figure: means.get(figure, 0) + value * share for figure, value in figures.items()}
    return total, means


def _optimizer(config: TrainedConfig, parameters: dict[str, nn.Parameter]) -> Adam:
    return Adam(parameters, config.betas, config.weight_decay, decoupled=config.optimizer == "adamw")


@torch.no_grad()
def _update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
    for old, new in zip(average.buffers(), module.buffers(), strict=True):
        old.copy_(new)


def _finite(model: TrainedModel) -> bool:
    """A finite loss can have a gradient that is not."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())


def _result(model: TrainedModel, average: nn.Module | None) -> TrainedModel:
    """Return a copy of the model that holds the averaged weights, in evaluation mode."""
    result = copy.deepcopy(model)
    if average is not None:
        result.averaged().load_state_dict(average.state_dict())
    result.recalibrate()
    return result.eval()


def _parts(model: TrainedModel, average: nn.Module | None, optimizers: dict[str, Adam]) -> dict[str, dict[str, Tensor]]:
    """Return the state of a training, part by part: what a checkpoint holds besides the figures of an epoch that has begun."""
    parts = {"model": model.state_dict(), **{network: optimizer.state for network, optimizer in optimizers.items()}}
    return parts if average is None else parts | {"average": average.state_dict()}


def _tensors(parts: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for part, state in parts.items() for name, tensor in state.items()}


def _report(progress: tqdm[Any], name: str, epoch: int, epochs: int, means: dict[str, float], left: float) -> None:
    figures = {figure: f"{value:.4g}" for figure, value in means.items()}
    if progress.disable:  # no terminal: a line an epoch
        text = " ".join(f"{figure} {value}" for figure, value in figures.items())
        print(f"{name}: epoch {epoch}/{epochs}  {text}  {tqdm.format_interval(left)} left", flush=True)
    else:
        progress.set_postfix(figures)
