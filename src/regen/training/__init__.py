"""Training by gradient steps: the loop, its checkpoints, and the devices it runs on."""
