"""Sets of latents from several places of a model's latent space, and the features of what is decoded from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from torch import Tensor

from regen.evaluation.images.latents import Gaussian
from regen.evaluation.images.subject import Images
from regen.metrics.distances import SETS, training_sets
from regen.seeding import derive_seed

FITTED = 1024  # dimensions of a prior's space at most in which directions are shown, Gaussians fitted and places compared


class Draws:
    """Sets of n latents, and of n samples, each set with a seed of its own.

    Attributes:
        encoded: latents of the training images; None where the model cannot encode, or draws more than `FITTED` numbers an image
            itself: each is noise then, and says nothing alone.
        space: the Gaussian that samples are drawn from, or stand beside: N(0, I) or, of an autoencoder, the fitted one.
    """

    def __init__(self, subject: Images, n: int) -> None:
        self.subject, self.n, self.model = subject, n, subject.model
        self.seeds = [subject.seed, *(derive_seed(subject.seed, "samples", k) for k in range(1, SETS))]
        dim = getattr(self.model.config, "latent_dim", 0)  # a model may draw images in a way of its own
        few = (
            hasattr(self.model, "encode")
            and hasattr(self.model, "decode")
            and (dim <= FITTED or not hasattr(self.model, "sample"))
        )
        self.encoded = subject.apply(self.model.encode, subject.train_x) if few else None
        standard = Gaussian.standard(dim)
        self.space = standard if self.encoded is None or hasattr(self.model, "sample") else self.fitted

    @cached_property
    def fitted(self) -> Gaussian:
        """The Gaussian of the training images' latents."""
        assert self.encoded is not None
        return Gaussian.fitted(self.encoded)

    @cached_property
    def test_latents(self) -> Tensor:
        """Latents of the test images."""
        return self.subject.apply(self.model.encode, self.subject.test_x[: self.n])

    def prior(self, seed: int) -> Tensor:
        """Return n latents of the model's own prior, or of N(0, I) where it has none."""
        if hasattr(self.model, "sample_prior"):
            latents: Tensor = self.model.sample_prior(self.n, seed=seed).cpu()
            return latents
        return Gaussian.standard(self.model.config.latent_dim).sample(self.n, seed)

    def samples(self, k: int) -> Tensor:
        """Return the k-th set of new images; an autoencoder has no prior, so its samples are drawn from the fitted Gaussian."""
        if hasattr(self.model, "sample"):
            images: Tensor = self.model.sample(self.n, seed=self.seeds[k]).cpu()
            return images
        return self.subject.decode(self.space.sample(self.n, self.seeds[k]))

    def features(self, first: Tensor) -> list[Tensor]:
        """Return the features of all sets of samples, of which the first is at hand."""
        return [self.subject.features(first), *(self.subject.features(self.samples(k)) for k in range(1, SETS))]

    def places(self, of_samples: list[Tensor]) -> dict[str, list[Tensor]]:
        """Return the features of sets decoded from the prior, from the fitted Gaussian, from half-way between test latents, and
        from training images' own latents: what no way of drawing latents can be better than.

        One of the first two is where samples come from, unless these have labels of their own.
        """
        assert self.encoded is not None
        own = "" if self.subject.draws_labels else "prior" if hasattr(self.model, "sample") else "fitted"
        encoded = training_sets(self.encoded, self.n, SETS, self.subject.seed)
        latents: dict[str, Callable[[int], Tensor]] = {
            "prior": lambda k: self.prior(self.seeds[k]),
            "fitted": lambda k: self.fitted.sample(self.n, self.seeds[k]),
            "midpoints": lambda k: (self.test_latents + self.test_latents.roll(k + 1, 0)) / 2,
            "reconstructions": lambda k: encoded[k % len(encoded)],
        }
        return {
            name: of_samples if name == own else [self.subject.apply(self._seen, draw(k)) for k in range(SETS)]
            for name, draw in latents.items()
        }

    def _seen(self, z: Tensor) -> Tensor:
        features: Tensor = self.subject.classifier.features(self.model.decode(z))
        return features
