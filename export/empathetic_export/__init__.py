"""Turns a trained checkpoint into the artifact that Triton and the embedded engine serve. Meets training at files alone."""
