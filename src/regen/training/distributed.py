"""The accelerator that is there, its fast precision, and the other processes that train along."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from regen import processor
from regen.errors import UserError

T = TypeVar("T")


class Devices:
    """Where one process of a training runs.

    Args:
        precision: `fp32`, `bf16`, or `auto`: bf16 where the hardware multiplies it faster, else fp32.
        threads: CPU threads; sums are rounded differently with another number, so it is fixed rather than 'all'.

    `torchrun` starts several processes that find each other through environment variables. Gradients are averaged here and not
    by DistributedDataParallel, whose hooks on forward() do not fit networks that take turns on one module.
    """

    def __init__(self, precision: str = "auto", threads: int = 2) -> None:
        torch.set_num_threads(threads)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS refuses to be deterministic
        torch.set_deterministic_debug_mode("error")  # what use_deterministic_algorithms does, less 3 s of imports
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # halves the speed
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 is 24 bits of mantissa, not 11
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            torch.backends.cudnn.benchmark = False  # the fastest kernel differs from run to run
        self.bf16 = precision == "bf16" or (precision == "auto" and self._faster_in_bf16())
        if self.world_size > 1 and not dist.is_initialized():
            dist.init_process_group("gloo" if self.device.type == "cpu" else "nccl")
            atexit.register(self.close)  # also of an error: what ends with its group's threads still at work aborts

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @property
    def kind(self) -> str:
        """`cpu` or the GPU's name: results are the same to the last bit on one kind only."""
        return "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Compute matrix products and convolutions in bf16 where that is on; weights stay fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes: one exchange of one flat tensor."""
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.world_size
        for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agree(self, model: torch.nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.world_size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def check_agreement(self, model: torch.nn.Module) -> None:
        """Compare the sum of all weights.

        Raises:
            UserError: a process has others than the first one.
        """
        if self.world_size > 1:
            least = torch.stack([parameter.detach().double().sum() for parameter in model.parameters()]).sum()
            most = least.clone()
            dist.all_reduce(least, dist.ReduceOp.MIN)
            dist.all_reduce(most, dist.ReduceOp.MAX)
            if least != most:
                raise UserError(
                    f"{self.world_size} processes that train one model hold different weights; start all of them again"
                )

    def means(self, figures: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean of each scalar over the processes: one exchange."""
        if self.world_size == 1 or not figures:
            return figures
        values = torch.stack([value.float() for value in figures.values()])
        dist.all_reduce(values)
        return dict(zip(figures, (values / self.world_size).unbind(), strict=True))

    def from_first(self, read: Callable[[], T]) -> T:
        """Return what the first process reads, in every process: their hosts may share no disk."""
        if self.world_size == 1:
            return read()
        found: list[Any] = [read() if self.main else None]
        dist.broadcast_object_list(found, 0)
        result: T = found[0]
        return result

    def gathered(self, text: str) -> list[str]:
        """Return what each process says."""
        found = [text] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(found, text)
        return found

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self.world_size > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the group of processes, once."""
        if self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def _faster_in_bf16(self) -> bool:
        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return processor.faster_in_bf16()
