"""What `regen serve` and `mlflow models serve` answer: the script that goes with each registered model, beside its weights.

A model of images answers latents, or a seed and a number, with PNGs; a classifier answers images with log-odds:

{"inputs": [[0.1, -1.2]]}                           two latents: one image
{"inputs": [[]], "params": {"seed": 1, "n": 16}}    16 new images

It reads the files of its own model and nothing else. What it cannot answer is HTTP 400 and one line. What is no JSON, or not of
its form, never comes here: `regen serve` refuses it in a line, too, and MLflow's server in words of its own.
"""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 256  # images in one answer
SEEDS = 1 << 32


class RefusedError(MlflowException):
    """A request that has no answer: MLflow makes HTTP 400 of it, and would repeat the whole request in what it says."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, error_code=INVALID_PARAMETER_VALUE)
        self.reason = reason

    def serialize_as_json(self) -> str:
        """Return the body of the answer."""
        return json.dumps({"error_code": self.error_code, "message": self.reason})


class Served(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """One trained model of regen."""

    def load_context(self, context: Any) -> None:
        """Load the weights, which are checked before they are believed."""
        from regen import families

        self.model: Any = families.load(context.artifacts["model"])

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:
        """Return base64 PNGs (n,), or of a classifier log-odds (n, labels).

        Args:
            context: as MLflow gives it.
            model_input: latents (n, d), or one empty row; of a classifier images (n, channels, height, width) in [0, 1].
            params: `seed` and `n`, where new images are asked for.

        Raises:
            RefusedError: a shape, a number or a seed that the model cannot take.
        """
        import torch

        given = np.asarray(model_input)
        if given.dtype.kind not in "fiu":
            raise RefusedError("inputs: expected finite numbers")
        if given.shape[0] > LARGEST:
            raise RefusedError(f"inputs: {given.shape[0]} rows; at most {LARGEST} are answered at a time")
        with np.errstate(over="ignore"):
            x = torch.from_numpy(given.astype(np.float32))
        if not bool(x.isfinite().all()):
            raise RefusedError("inputs: expected finite numbers")
        if classifies(self.model):
            return self._classified(x)
        return self._drawn(x, _whole(params, "seed"), _whole(params, "n"))

    def _classified(self, x: Tensor) -> Any:
        if tuple(x.shape[1:]) != tuple(self.model.data.shape):
            raise RefusedError(f"inputs: images of {tuple(x.shape[1:])}, expected {tuple(self.model.data.shape)}")
        logits: Tensor = self.model.logits(x).detach()
        if not bool(logits.isfinite().all()):
            raise RefusedError("inputs: too far out: their log-odds are no numbers")
        return logits.numpy()

    def _drawn(self, latents: Tensor, seed: int, n: int) -> Any:
        if not draws(self.model):
            raise RefusedError(f"a {self.model.config.family} draws no images; load it with regen.load")
        if latents.numel() == 0:
            if not 1 <= n <= LARGEST or not 0 <= seed < SEEDS or not hasattr(self.model, "sample"):
                raise RefusedError(f"params: expected n from 1 to {LARGEST} and seed from 0 to {SEEDS - 1}, or latents as inputs")
            return pngs(self.model.sample(n, seed=seed))
        if n:
            raise RefusedError('params: n goes with no latents; new images are {"inputs": [[]], "params": {"seed": 0, "n": 16}}')
        dims = latent_dim(self.model)
        if dims is None:
            raise RefusedError(f"inputs: a {self.model.config.family} has no latents; ask for seed and n")
        if latents.ndim != 2 or latents.shape[1] != dims:
            raise RefusedError(f"inputs: latents of shape {tuple(latents.shape)}, expected (n, {dims})")
        return pngs(self.model.decode(latents))


def classifies(model: Any) -> bool:
    """Whether a model reads images."""
    return bool(model.config.family == "classifier")


def draws(model: Any) -> bool:
    """Whether a model makes images of one or three channels."""
    shape = model.data.shape
    return len(shape) == 3 and shape[0] in (1, 3) and (hasattr(model, "sample") or latent_dim(model) is not None)


def latent_dim(model: Any) -> int | None:
    """Return how many numbers a latent has; None for a model without such latents."""
    dims = getattr(model.config, "latent_dim", None)
    return dims if hasattr(model, "decode") and isinstance(dims, int) else None


def _whole(params: Any, name: str) -> int:
    value = (params or {}).get(name, 0)
    if not isinstance(value, int | np.integer):
        raise RefusedError(f"params: {name}: expected a whole number")
    return int(value)


def pngs(images: Tensor) -> Any:
    """Return (n,) base64 texts of images (n, c, h, w) in [0, 1]."""
    if not bool(images.isfinite().all()):
        raise RefusedError("inputs: too far out: their images are no numbers")
    pixels = (images.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    found = []
    for image in pixels:
        out = io.BytesIO()
        Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(out, "PNG")
        found.append(base64.b64encode(out.getvalue()).decode())
    return np.array(found)


mlflow.models.set_model(Served())
