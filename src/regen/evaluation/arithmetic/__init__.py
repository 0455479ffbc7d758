"""Answers to questions of arithmetic."""

from regen.evaluation.arithmetic.answers import evaluate

__all__ = ["evaluate"]
