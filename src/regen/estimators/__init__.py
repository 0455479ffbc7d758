"""Estimators: models that are fitted in closed form or by iterations over all data, not trained by gradient steps."""
