"""What a model is worth: figures beside their limits, and pictures. Takes tensors; knows of no stage and no file's place."""
