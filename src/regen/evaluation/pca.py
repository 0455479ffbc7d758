"""Principal components of images: the linear autoencoder of least squared error, which every other one stands beside."""

from __future__ import annotations

import torch
from torch import Tensor

from regen.estimators.spectrum import spectrum
from regen.metrics.equal_pixels import equal_pixels
from regen.metrics.values import pixels


class PCA:
    """Principal components of images (Bourlard & Kamp 1988), by the decomposition of `regen.estimators.ppca`,
    in blocks: beside the images, a few hundred megabytes are held at the most.

    Equal pixels are merged first (a 24x24 picture enlarged to 64x64 has 24x24 different ones) and weighted by their number,
    which changes no component and makes the decomposition small.

    Attributes:
        mean: (D,) mean of the training images.
        components: (k, D) orthonormal rows, by falling variance; k = min(latent size, number of images - 1, D).
    """

    def __init__(self, train: Tensor, latent_dim: int) -> None:
        """Fit `latent_dim` components to (N, ...) training images, uint8 or floats in [0, 1]."""
        flat = train.flatten(1).cpu()  # in float64, which not every accelerator computes in
        group, first, size = equal_pixels(flat)
        k, scale = min(latent_dim, len(flat) - 1, len(size)), size.sqrt()

        def values(part: Tensor) -> Tensor:
            return pixels(part[:, first]).mul_(scale.float())

        # one image has no components
        mean, vectors = spectrum(flat, k, values)[::3] if k else (values(flat)[0].double(), values(flat)[:0].double())
        self.mean = (mean / scale)[group].float()
        self.components = (vectors[:k] / scale)[:, group].float()

    def encode(self, x: Tensor) -> Tensor:
        """Return the (N, k) scores of images."""
        return torch.cat([(pixels(part).flatten(1) - self.mean) @ self.components.T for part in torch.split(x.cpu(), 1000)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images projected onto the components, cut to [0, 1], in the shape they came in."""
        return (self.encode(x) @ self.components + self.mean).clamp_(0, 1).view(x.shape)
