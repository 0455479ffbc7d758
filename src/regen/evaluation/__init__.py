"""What a model is worth: figures beside their limits, and pictures. Knows of no stage and no file's place."""
