"""How probable a variational model holds new images: the ELBO and the tighter importance-weighted bound."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from regen.errors import UserError
from regen.metrics.values import Measured, images, mean, pixels


class Variational(Protocol):
    """What a model must be able to do: see `regen.models.vae`."""

    def elbo(self, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return E_q[log p(x|z)] and KL(q(z|x) || p(z)), each (N,), in nats an image."""

    def log_likelihood_bound(self, x: Tensor, importance_samples: int, seed: int = 0) -> Tensor:
        """Return the importance-weighted bound, (N,), in nats an image."""


def likelihood_measures(
    model: Variational, test: Tensor, train: Tensor | None = None, importance_samples: int = 50, seed: int = 0
) -> Measured:
    """Return bounds on log p(x) of (N, C, H, W) test images in nats a dimension, means over images with standard errors.

    * elbo: E_q[log p(x|z)] - KL (Kingma & Welling 2014, eq. 3). Its bound is the importance-weighted bound: the gap is what
      the approximate posterior loses.
    * importance_weighted_bound: log 1/K sum_k p(x, z_k) / q(z_k|x) (Burda et al. 2016, eq. 8).
    * importance_weighted_bound_train: the same of `train`: the gap is what does not generalise.
    * rate: KL(q(z|x) || p(z)) in nats an image, what the latents tell of it.

    Raises:
        UserError: no images, or a bound that is not finite.
    """
    x = pixels(images(test, "test images"))
    dimensions = x[0].numel()
    reconstruction, rate = (part.cpu().double() for part in model.elbo(x, seed=seed))
    bound = model.log_likelihood_bound(x, importance_samples, seed=seed).cpu().double() / dimensions
    elbo = (reconstruction - rate) / dimensions
    for name, value in (("ELBO", elbo), ("importance-weighted bound", bound)):
        if not bool(value.isfinite().all()):
            raise UserError(f"{name}: not finite for {int((~value.isfinite()).sum())} of {len(x)} images; the model has diverged")
    measures = {"elbo": mean(elbo, bound=bound), "importance_weighted_bound": mean(bound), "rate": mean(rate)}
    if train is not None:
        seen = pixels(images(train, "training images"))
        of_train = model.log_likelihood_bound(seen, importance_samples, seed=seed).cpu().double() / dimensions
        measures["importance_weighted_bound_train"] = mean(of_train)
    return measures


def per_image(measures: Measured, dimensions: int) -> Measured:
    """Return the bounds of `likelihood_measures` in nats an image."""
    names = ("elbo", "importance_weighted_bound", "importance_weighted_bound_train")
    return {
        f"{name}_per_image": {part: value * dimensions for part, value in measures[name].items()}
        for name in names
        if name in measures
    }
