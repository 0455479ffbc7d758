"""Random graphs."""

from regen.evaluation.graphs.graphs import evaluate

__all__ = ["evaluate"]
