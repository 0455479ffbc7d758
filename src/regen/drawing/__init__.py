"""Pictures from arrays: collages and plots. Knows nothing of models."""
