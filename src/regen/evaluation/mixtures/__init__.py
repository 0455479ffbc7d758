"""Gaussian mixtures on latents."""

from regen.evaluation.mixtures.mixtures import evaluate

__all__ = ["evaluate"]
