"""Features of a network that others have trained, whose weights a person gives by path and SHA-256.

Nothing is learned: fitting is loading, and the weights are copied into the model's folder, which then needs the file no more.
Named as another model's `classifier`, it is what samples and real images are compared in. Two kinds of network:

* `inception`: Inception v3 of 2015 with TensorFlow's own bilinear resizing to 299 x 299, as torch-fidelity has it to the digit
  (Obukhov et al. 2020). The Frechet distance in its 2,048 features is the FID (Heusel et al. 2017), the kernel distance the KID.
* the name of one of torchvision's classifiers: the activations under its last layer, of images resized to its own size.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from regen.blocks import ModelConfig, suggestion
from regen.errors import UserError
from regen.estimators.base import Estimator
from regen.models.base import DataSpec, chunks

INCEPTION = "inception"
OPTIONS = {  # of torchvision's builders: what they set for their own weights, and no slow initial ones
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")  # as torchvision's files have it: norm.1 is norm1 now
Scaling = Callable[[Tensor], Tensor]  # uint8 (N, 3, H, W) -> what a network sees


class Config(ModelConfig):
    """A network and its weights."""

    network: str  # inception (by torch-fidelity), or a classifier of torchvision: resnet50, convnext_tiny, vit_b_16, ...
    path: str  # of its weights: a state dict as torch saves it (.pth, .pt), or .safetensors
    sha256: str  # of that file

    @field_validator("network")
    @classmethod
    def _is_known(cls, network: str) -> str:
        if network != INCEPTION and network not in (known := torchvision_classifiers()):
            raise ValueError(f"{INCEPTION} or a classifier of torchvision{suggestion(network, [INCEPTION, *known])}")
        return network

    @field_validator("sha256")
    @classmethod
    def _is_a_digest(cls, sha256: str) -> str:
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError("64 hexadecimal digits, as `sha256sum FILE` prints them")
        return sha256


def ready(config: Config, where: str) -> None:
    """Refuse, before any work, weights that are not there and a network that cannot be built.

    Raises:
        UserError: saying which.
    """
    if not Path(config.path).expanduser().is_file():
        raise UserError(f"{where}.path: {config.path}: no such file; give the file with the weights")
    if config.network == INCEPTION:
        extractor()


class Model(Estimator):
    """A network without its last layer, in evaluation mode."""

    config: Config

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__(config, data)
        channels, *_ = data.expect(3, "images")
        if channels not in (1, 3):
            raise UserError(
                f"dataset: {data.dataset} has images of {channels} channels, and {config.network} sees grey or colour"
            )
        self.network, self.head, self.scaled = inception() if config.network == INCEPTION else of_torchvision(config.network)
        self.network.eval().requires_grad_(False)

    def fit(self, arrays: Mapping[str, np.ndarray], seed: int = 0) -> list[dict[str, float]]:
        """Load the weights; the data are not looked at.

        Raises:
            UserError: no such file, another SHA-256, no weights, or those of another network.
        """
        path = Path(self.config.path).expanduser()
        state = {name: value for name, value in weights(path, self.config.sha256).items() if name.rpartition(".")[0] != self.head}
        wanted = self.network.state_dict()
        shared = wanted.keys() & state.keys()
        for problem, names in (
            ("missing", [name for name in wanted.keys() - state.keys() if not name.endswith("num_batches_tracked")]),
            ("unknown", state.keys() - wanted.keys()),
            ("of another shape", [name for name in shared if wanted[name].shape != state[name].shape]),
        ):
            if names:
                raise UserError(f"path: {path} does not fit {self.config.network}: of its weights {len(names)} are {problem}, as "
                                f"{min(names)}; name the network that the file was saved from")  # fmt: skip
        self.network.load_state_dict(state, strict=False)  # a counter of training's may be missing in old files
        return []

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Return the activations (N, d) under the network's last layer, of grey or colour images (N, C, H, W) in [0, 1].

        Images are rounded to 8 bits first, as files of images are.
        """
        return torch.cat([self._activations(part.mul(255).round().to(torch.uint8)) for part in chunks(x, 50)])

    def _activations(self, x: Tensor) -> Tensor:
        found = self.network(self.scaled(x.expand(-1, 3, -1, -1)))
        activations: Tensor = found[0] if isinstance(found, tuple) else found
        return activations.float()


def torchvision_classifiers() -> list[str]:
    """Return the names of torchvision's classifiers that end in a linear layer."""
    from torchvision import models

    return [name for name in models.list_models(module=models) if not name.startswith("squeezenet")]


def of_torchvision(name: str) -> tuple[nn.Module, str, Scaling]:
    """Return a network of torchvision without its last linear layer, that layer's name, and what images go through before it."""
    from torchvision import models

    with torch.device("cpu"):  # a regnet computes its widths by tensors, which have to have content
        network: nn.Module = models.get_model(name, weights=None, **OPTIONS.get(name, {}))
    head = [part for part, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    network.set_submodule(head, nn.Identity())
    preset = models.get_model_weights(name).DEFAULT.transforms()  # what its published weights expect: nothing is fetched
    side = getattr(network, "image_size", preset.crop_size[0])
    mean, std = (torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))

    def scaled(x: Tensor) -> Tensor:
        resized = F.interpolate(x.float() / 255, (side, side), mode=preset.interpolation.value, antialias=True).clamp(0, 1)
        return (resized - mean.to(x.device)) / std.to(x.device)

    return network, head, scaled


def extractor() -> Any:
    """Return torch-fidelity's class of the network, which is imported where it is asked for alone.

    Raises:
        UserError: torch-fidelity is not installed.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ModuleNotFoundError as error:
        raise UserError(
            f"network: {INCEPTION} needs torch-fidelity, but there is no {error.name}; pip install torch-fidelity"
        ) from None
    return FeatureExtractorInceptionV3


def inception() -> tuple[nn.Module, str, Scaling]:
    """Return torch-fidelity's Inception, which resizes and scales images itself, without its last layer."""

    class Inception(extractor()):  # type: ignore[misc]
        def load_state_dict(self, state: Mapping[str, Tensor], *rest: Any, **options: Any) -> Any:
            """Pass over the empty weights that the constructor is given, which knows no other way than to load some."""
            return super().load_state_dict(state, *rest, **options) if state else None

    torch.save({}, nothing := io.BytesIO())
    nothing.seek(0)
    network: nn.Module = Inception(INCEPTION, ["2048"], feature_extractor_weights_path=nothing)
    network.set_submodule("fc", nn.Identity())
    return network, "fc", lambda x: x


def weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Return the weights in a file, none of whose code is run.

    Raises:
        UserError: no such file, another SHA-256, or no weights.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"path: {path}: {(error.strerror or 'cannot be read').lower()}; give the file with the weights") from None
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise UserError(f"sha256: {path} has {found}, expected {sha256}; get the file again, or give the one that you mean")
    try:
        state = (
            safetensors.torch.load(content)
            if path.suffix == ".safetensors"
            else torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        )
    except (UnpicklingError, safetensors.SafetensorError, RuntimeError, EOFError, ValueError, KeyError, TypeError):
        state = None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"path: {path} holds no weights: expected a state dict, {{name: tensor}}, as torch.save or safetensors write it"
        )
    return {OLD_NAME.sub(r"\1", name): value for name, value in state.items()}
