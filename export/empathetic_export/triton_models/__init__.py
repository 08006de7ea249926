"""The models that Triton's python backend runs; the export copies them into the model repository."""
