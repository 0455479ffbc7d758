"""Settings that fit so many images of a size: the blocks that `regen add` writes.

They are those of the 64-px punks, 8,000 training images. What a model sees in all stays about the same with fewer images, in more
passes, and grows with the square root of their number beyond.
"""

from __future__ import annotations

import math
from typing import Any

from regen.commands.adding.survey import Found
from regen.commands.adding.text import Values

PUNKS = 8000  # training images that the settings were found for
MOST_EPOCHS = 500


def keys(name: str) -> list[str]:
    """Return what the models are called."""
    return [f"{name}_{family}" for family in ("classifier", "autoencoder", "vae", "gan")]


def models(name: str, found: Found, size: int) -> dict[str, Values]:
    """Return a block a model: a classifier whose features measure the others, an autoencoder, a VAE and a GAN."""
    train = training(found)
    halvings = _halvings(size)
    latent = min(64 if size >= 64 else 32, 1 << max(3, (train // 4).bit_length() - 1))  # a power of two
    photographs: Values = {"flip": (True, "mirrored left to right by chance")} if found.photographs else {}
    few = {"output_std": (0.3, "smaller: sharper, but latents of real images leave most of N(0, I) empty")}
    common = {"dataset": (name, ""), "classifier": (f"{name}_classifier", "")}
    measured = {"rotation": "by how many quarter turns: no labels", "class": f"one of {len(found.labels)}",
                "attributes": f"{len(found.labels)} binary ones"}  # fmt: skip
    wide, narrow = [32, 64, 128, 256], [24, 48, 96, 192]
    steps: Values = {"learning_rate": (1e-3, ""), "schedule": ("one_cycle", "")}
    return {
        f"{name}_classifier": {
            "dataset": (name, ""), "family": ("classifier", "its features measure the other models"), "classifier": ("none", ""),
            "target": (found.target, measured[found.target]), **_classifying(size), **_passes(train, 96_000, 128),
            "learning_rate": (6e-3, ""), "schedule": ("one_cycle", ""), "optimizer": ("adamw", ""), **photographs,
        },
        f"{name}_autoencoder": {
            **common, "family": ("autoencoder", ""), "latent_dim": (latent, "as the VAE's"),
            "channels": (_widths(wide, halvings), f"{size} px are halved {halvings} times"),
            **_passes(train, 64_000, 24), **steps, "learning_rate": (1.5e-3, "many small steps"), **photographs,
        },
        f"{name}_vae": {
            **common, "family": ("vae", ""), "latent_dim": (latent, ""), "beta": (1.0, ""), **few,
            "channels": (_widths(wide, halvings), ""), **_passes(train, 96_000, 64), **steps, **photographs,
        },
        f"{name}_gan": {
            **common, "family": ("gan", ""), "latent_dim": (100, ""), "channels": (_widths(narrow, halvings), ""),
            "objective": ("non_saturating", ""), "discriminator_norm": ("spectral", ""), "discriminator_rate": (2.0, ""),
            **_passes(train, 80_000, 32), "learning_rate": (4e-4, ""), "betas": ([0.5, 0.999], ""), "ema": (0.998, ""),
            **photographs,
        },
    }  # fmt: skip


def dataset(found: Found, source: dict[str, Any], size: int) -> Values:
    """Return the block of the data set, with what was found as comments. `source` names it: source, path, sha256."""
    of = len(found.looks)
    classes = (
        f"{found.target}: {_some(found.labels)}" if found.labels else "no classes: features are those of a rotation classifier"
    )
    transparent = f"behind transparent pixels, which {100 * found.transparent:.0f} % of {of} have" if found.transparent else ""
    drawn = "guessed: " + ("pixel art" if found.pixel_art else "photographs or paintings" if found.photographs else "drawings")
    held = "the folders train and test say which" if found.given else f"about {tests(found):,} images that no model sees"
    comments = {
        "source": f"{found.count:,} pictures" + (f"; {found.unread} of {of + found.unread} cannot be read" * (found.unread > 0))
    }
    return {
        "kind": ("images", ""),
        **{name: (value, comments.get(name, "")) for name, value in source.items()},
        "size": (size, f"pixels a side; the pictures have {found.sides()}"),
        "crop": ("centre", "the largest square; or: pad"),
        "resize": ("nearest" if found.pixel_art else "smooth", drawn),
        "colour": (not found.grey, ""),
        "background": ("#ffffff", transparent),
        "test_fraction": (0 if found.given else fraction(found), held),
        "labels": ("auto" if found.labels else "none", classes),
    }


def fraction(found: Found) -> float:
    """Share that no model sees: Frechet distances need some thousand images."""
    return 0.2 if found.count <= 20_000 else 0.1


def tests(found: Found) -> int:
    """About how many images no model sees."""
    return round(fraction(found) * found.count)


def training(found: Found) -> int:
    """About how many images are trained on."""
    return max(1, found.count - tests(found))


def _passes(train: int, seen: int, batch: int) -> Values:
    """Return epochs and batch size: `seen` images in all for up to as many training images as there are punks."""
    batch = min(batch, 1 << max(1, (train // 10).bit_length() - 1))  # a power of two, at most a tenth
    epochs = seen * max(1.0, math.sqrt(train / PUNKS)) / train
    return {"epochs": (min(MOST_EPOCHS, max(1, round(epochs))), ""), "batch_size": (batch, "")}


def _halvings(size: int) -> int:
    """Return how often a size can be halved without going below 4 pixels a side."""
    count = 0
    while size % 2 == 0 and size // 2 >= 4:
        size, count = size // 2, count + 1
    return count


def _widths(widths: list[int], halvings: int) -> list[int]:
    return widths[:halvings] + widths[-1:] * (halvings - len(widths))


def _classifying(size: int) -> Values:
    """Return a classifier's channels and stride: halved to 2 or 3 pixels a side."""
    stride = 2 if size >= 64 else 1
    halvings = max(1, int(math.log2(size // stride)) - 1)
    return {"channels": (_widths([32, 64, 128, 128], halvings), ""), "stride": (stride, "")}


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(name if len(name) <= 20 else name[:19] + "..." for name in names[:4])
    return f"{len(names)} ({shown}{', ...' if len(names) > 4 else ''})"
