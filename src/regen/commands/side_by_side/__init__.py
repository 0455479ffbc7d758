"""`regen compare`: revisions as columns, with the params that differ, the figures and the pictures of each model."""
