"""Videos as a DATASET: consecutive frames averaged into blurred images, and where things move."""
