"""Exports the reply generator: a finished checkpoint to `models/responder/`, for vLLM (`hf/`) and for onnxruntime-genai (`onnx/`).

    checkpoint ─► tensors ─► int4, int8 graphs ─► perplexity of held-out replies ─► the smallest that keeps it ─► models/responder

Knows nothing of the classifier's export.
"""
