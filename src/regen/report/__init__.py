"""The report: all figures and pictures of all models on one page."""
