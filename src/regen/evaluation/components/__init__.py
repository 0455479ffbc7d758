"""Principal components."""

from regen.evaluation.components.components import evaluate

__all__ = ["evaluate"]
