"""`regen sweep` and `regen search`: many experiments of DVC, each made in a copy of its own, several side by side."""
