"""Images: reconstructed, new, and between two others."""

from regen.evaluation.images.images import evaluate

__all__ = ["evaluate"]
