"""Networks that families share and that are no family themselves."""
