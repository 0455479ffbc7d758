"""Adam with its state in plain sight."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma and Ba 2015), or AdamW (Loshchilov and Hutter 2019) with `decoupled` weight decay, fused.

    torch's functional Adam rather than `torch.optim.Adam`: that class imports torch's compiler when it is first used,
    which takes as long as torch itself, and its state dict is keyed by positions.

    Attributes:
        state: `<name>/mean`, `<name>/square`, `<name>/step` for each parameter: all that a resume needs.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], betas: tuple[float, float] = (0.9, 0.999),
                 weight_decay: float = 0.0, decoupled: bool = False) -> None:  # fmt: skip
        self.parameters = parameters
        self.betas = betas
        self.weight_decay = weight_decay
        self.decoupled = decoupled
        self.state: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            self.state[f"{name}/mean"] = torch.zeros_like(parameter)
            self.state[f"{name}/square"] = torch.zeros_like(parameter)
            self.state[f"{name}/step"] = torch.zeros((), device=parameter.device)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters that have a gradient."""
        moved = {name: parameter for name, parameter in self.parameters.items() if parameter.grad is not None}
        adam(
            list(moved.values()),
            [parameter.grad for parameter in moved.values() if parameter.grad is not None],
            [self.state[f"{name}/mean"] for name in moved],
            [self.state[f"{name}/square"] for name in moved],
            [],
            [self.state[f"{name}/step"] for name in moved],
            fused=True,
            decoupled_weight_decay=self.decoupled,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved `state`."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])
