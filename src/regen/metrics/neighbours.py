"""Whose neighbours are the samples? Precision, recall, density and coverage in features; nearest training images; copies."""

from __future__ import annotations

import torch
from torch import Tensor

from regen.errors import UserError
from regen.metrics.bootstrap import standard_error
from regen.metrics.equal_pixels import equal_pixels
from regen.metrics.values import Measured, features, images, mean, measured, pixels, same_dimensions, share_error

PRECISION_NEIGHBOURS = 3  # k of Kynkaanniemi et al. 2019
DENSITY_NEIGHBOURS = 5  # k of Naeem et al. 2020
LEAST = DENSITY_NEIGHBOURS + 1  # examples a set
NEAR_QUANTILE = 0.05  # a sample is a near-copy if it lies nearer to training data than this share of real test images does


class Manifold:
    """Real examples (m, d) in features, each with a ball around it: B_k(x) reaches x's k-th nearest neighbour in its own set.

    Raises:
        UserError: fewer than 6 examples, or values that are not finite.
    """

    def __init__(self, real: Tensor, chunk: int = 1000) -> None:
        self.real, self.chunk = features(real, "reference", at_least=LEAST), chunk
        self.radius, self.density_radius = _radii(self.real, [PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS], chunk)

    def precision(self, samples: Tensor) -> float:
        """Return the share of samples (n, d) inside some real B_3 (Kynkaanniemi et al. 2019, arXiv 1904.06991, eq. 2).

        Raises:
            UserError: values that are not finite, or different dimensions.
        """
        samples = self._checked(samples)
        inside = [(_distances(part, self.real) <= self.radius).any(1) for part in torch.split(samples, self.chunk)]
        return torch.cat(inside).double().mean().item()

    def measures(self, samples: Tensor) -> dict[str, float]:
        """Return precision, recall, density and coverage of samples (n, d).

        * precision: share of samples inside some real B_3; recall: share of real examples inside some sample's B_3
          (Kynkaanniemi et al. 2019, arXiv 1904.06991, eq. 1 to 3).
        * density: mean over samples of the number of real B_5 that hold it, / 5 (1 for real data; more where samples crowd);
          coverage: share of real B_5 that hold a sample (Naeem et al. 2020, arXiv 2002.09797, eq. 3 and 5).

        Raises:
            UserError: fewer than 6 samples, values that are not finite, or different dimensions.
        """
        samples = self._checked(samples)
        (sample_radius,) = _radii(samples, [PRECISION_NEIGHBOURS], self.chunk)
        precise, crowd = 0, 0
        recalled = torch.zeros(len(self.real), dtype=torch.bool)
        covered = torch.zeros(len(self.real), dtype=torch.bool)
        for part, radius in zip(torch.split(samples, self.chunk), torch.split(sample_radius, self.chunk), strict=True):
            distance = _distances(part, self.real)  # (chunk, m)
            # Closed balls for precision and recall, open ones for density and coverage, as their authors' programs have them:
            # a set against itself then has a density of exactly 1.
            precise += int((distance <= self.radius).any(1).sum())
            recalled |= (distance <= radius[:, None]).any(0)
            held = distance < self.density_radius
            crowd += int(held.sum())
            covered |= held.any(0)
        return {
            "precision": precise / len(samples),
            "recall": recalled.double().mean().item(),
            "density": crowd / (DENSITY_NEIGHBOURS * len(samples)),
            "coverage": covered.double().mean().item(),
        }

    def _checked(self, samples: Tensor) -> Tensor:
        samples = features(samples, "samples", at_least=LEAST)
        same_dimensions(samples=samples, reference=self.real)
        return samples


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Differences, not |x|^2 + |y|^2 - 2xy: equal examples then have a distance of exactly 0.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(x: Tensor, neighbours: list[int], chunk: int) -> list[Tensor]:
    """Return the distance of each of x to its k-th nearest other, for each k."""
    nearest = [_distances(part, x).topk(max(neighbours) + 1, largest=False).values for part in torch.split(x, chunk)]
    return [torch.cat(nearest)[:, k] for k in neighbours]  # column 0 is x itself


def nearest(queries: Tensor, references: Tensor, k: int = 1, chunk: int = 1000) -> tuple[Tensor, Tensor]:
    """Return the k nearest of `references` (m, ...) to each of `queries` (n, ...): distances and indices, (n, k), nearest first.

    The distance is the root mean square difference a dimension: for images in [0, 1], or uint8, the RMS pixel difference in
    [0, 1]. A float32 matmul makes a short list, whose distances are then taken exactly, so a copy has distance 0. Up to k + 4
    equal distances come in the order of the references.

    Raises:
        UserError: fewer references than k, or different shapes.
    """
    same_dimensions(queries=queries, references=references)
    if len(references) < k:
        raise UserError(f"references: {len(references)} examples have no {k} nearest; ask for fewer neighbours")
    queries, references = queries.flatten(1), references.to(queries.device).flatten(1)
    index = _short_list(pixels(queries), references, min(k + 4, len(references)), chunk)  # more than k: rounding swaps close ones
    index = index.sort(1).values  # the stable sort below then leaves equal distances in the order of the references
    exact = torch.cat([_rms(queries[rows], references, index[rows]) for rows in torch.split(torch.arange(len(queries)), 10)])
    order = exact.sort(dim=1, stable=True).indices[:, :k]
    return exact.gather(1, order), index.gather(1, order)


def _short_list(x: Tensor, references: Tensor, length: int, chunk: int) -> Tensor:
    """Return the indices, (n, length), of the nearest references to x (n, d) up to float32's rounding."""
    group, first, size = (part.to(x.device) for part in equal_pixels(references))
    scale = size.sqrt().float()
    # Over a group y is constant: |x - y|^2 = size (mean of x - y)^2 + what y does not change.
    x = torch.zeros(len(x), len(size), device=x.device).index_add_(1, group, x).div_(scale)
    centre = x.mean(0)  # distances do not change, rounding errors shrink
    x -= centre
    best = torch.full((len(x), length), torch.inf, device=x.device)
    index = torch.zeros((len(x), length), dtype=torch.long, device=x.device)
    for start in range(0, len(references), chunk):
        y = pixels(references[start : start + chunk, first]) * scale - centre
        squared = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)  # less |x|^2, which changes no order
        best, places = torch.cat([best, squared], 1).topk(length, largest=False)
        candidates = torch.cat([index, torch.arange(start, start + len(y), device=x.device).expand(len(x), -1)], 1)
        index = candidates.gather(1, places)
    return index


def _rms(queries: Tensor, references: Tensor, index: Tensor) -> Tensor:
    """Return the exact RMS difference of queries (n, d) to references[index] (n, k)."""
    x = pixels(queries)[:, None]  # (n, 1, d)
    y = pixels(references[index.flatten()]).view(*index.shape, -1)  # (n, k, d)
    return (x - y).square_().mean(2).sqrt_()


def copying_measures(samples: Tensor, test: Tensor, train: Tensor, mirrored: bool = False) -> Measured:
    """Are samples nearer to the training data than new real data is? Takes images (n, C, H, W), all of one shape.

    Where a model has seen them `mirrored`, too, so are the training images here: the nearer of the two counts.

    * copies: share of samples that, rounded to 8 bits, equal their nearest training image.
    * near_copies: share of samples whose nearest training image is as near as it is for only 5 % of real test images. No fixed
      number of grey levels suits every data set; the test images' own distances do.
    * copying: P(d(sample, train) < d(test, train)) + P(equal) / 2, over all pairs: 0.5 where samples are as new as test
      images are, 1 where the model repeats its training data, 0 where samples are far from any (Meehan et al. 2020,
      arXiv 2004.05675).
    * nearest_distance: the median of d(sample, train), RMS in [0, 1].

    Beside each stands the same of the test images. Errors are bootstrapped over samples and test images. Noise on every pixel
    hides a copy: compare pixel art on its own grid, `grid.snap(samples), grid.shrink(test), grid.shrink(train)`.

    Raises:
        UserError: no images, different shapes or values that are not finite.
    """
    images(samples, "samples"), images(test, "test images"), images(train, "training images")
    (of_samples, sample_copies), (of_test, test_copies) = (_nearest_training_image(x, train, mirrored) for x in (samples, test))
    near_error, copying_error = (standard_error(figure, of_samples, of_test) for figure in (_near, _nearer))
    near_error = share_error(near_error, len(of_samples))
    return {
        "copies": mean(sample_copies.double(), real=test_copies.double()),
        "near_copies": measured(float(_near(of_samples, of_test)), near_error, real=float(_near(of_test, of_test))),
        "copying": measured(float(_nearer(of_samples, of_test)), copying_error, real=0.5),
        "nearest_distance": measured(
            of_samples.median().item(), standard_error(torch.median, of_samples), real=of_test.median().item()
        ),
    }


def _near(of_samples: Tensor, of_test: Tensor) -> Tensor:
    """Return the share of samples whose distance is within the nearest `NEAR_QUANTILE` of the test images'."""
    return (of_samples <= of_test.quantile(NEAR_QUANTILE)).double().mean()


def _nearer(of_samples: Tensor, of_test: Tensor) -> Tensor:
    """Return P(of_samples < of_test) + P(equal) / 2 over all pairs, the Mann-Whitney statistic."""
    order = of_test.sort().values
    farther = len(order) - torch.searchsorted(order, of_samples, right=True)  # test images farther away than each sample
    at_least = len(order) - torch.searchsorted(order, of_samples)
    return (farther + at_least).double().mean() / (2 * len(order))


def _nearest_training_image(x: Tensor, train: Tensor, mirrored: bool = False) -> tuple[Tensor, Tensor]:
    """Return the distance of each of x to its nearest training image, and whether the two are equal in 8 bits."""
    if mirrored:  # x against a mirrored image is x mirrored against the image
        (near, equal), (near_mirrored, equal_mirrored) = (_nearest_training_image(side, train) for side in (x, x.flip(3)))
        return torch.minimum(near, near_mirrored), equal | equal_mirrored
    distance, index = nearest(x, train)
    nearest_image = train[index[:, 0].to(train.device)].to(x.device)
    same = [
        (_grey_levels(a) == _grey_levels(b)).flatten(1).all(1)
        for a, b in zip(torch.split(x, 100), torch.split(nearest_image, 100), strict=True)
    ]
    return distance[:, 0].cpu().double(), torch.cat(same).cpu()


def _grey_levels(x: Tensor) -> Tensor:
    return x if x.dtype == torch.uint8 else x.mul(255).round()
