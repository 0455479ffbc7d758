"""Figures as pure functions of tensors, each with its formula and source. Knows no model."""
