"""A person's own images: their blocks in params.yaml, written by `regen add` and taken back by `regen remove`."""
