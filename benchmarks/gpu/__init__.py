"""The classifier on a CUDA device, in every way that we know of: `docs/gpu.md`. Not installed; runs from a clone."""
