"""Renders the responder's model card in the Hub's format. Knows no files; what was measured is filled in by `empathetic-bench render`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FILE = "README.md"
UNMEASURED = "Not measured yet."

_BODY = """---
language: en
license: cc-by-nc-4.0
library_name: transformers
pipeline_tag: text-generation
---

# The responder: a small model that answers feelings

A Llama of {parameters} parameters with a window of {window} tokens and a vocabulary of {vocabulary} pieces, trained from nothing by
EmpatheticAI to answer one message with one to three short, supportive sentences. `hf/` holds bfloat16 weights for vLLM and transformers,
`onnx/` the same model in {precision} for onnxruntime-genai, inside the server.

## What was measured

<!-- responder -->
{unmeasured}
<!-- /responder -->

## Read and judged

<!-- responder-sheet -->
{unmeasured}
<!-- /responder-sheet -->

## Use

The chat template is in `tokenizer_config.json`. The system message is a note, not instructions: `feelings | strategy | stage[ | name]`
(`{prompt}` in `manifest.json`), such as `sadness, grief | reflect | initial`. The server writes it, draws several replies, drops those
whose feeling does not fit, and checks every one before it is shown. Without these, the model is half of what it was made to be.

## Data and licenses

Pre-trained on dialogues and on books in the public domain; fine-tuned on EmpatheticDialogues (CC BY-NC 4.0), ESConv (for research, not for
commerce) and answers of CounselChat. **The weights are for non-commercial use**, because EmpatheticDialogues and ESConv are; the code that
made them is not bound by this. The SHA-256 of each file that was read, the settings and the versions are in `manifest.json`. The
test splits were read only to keep their texts out of training.

## What it cannot do

- It knows nothing of the world, remembers little, cannot reason, and reads English alone.
- It mistakes feelings, also plain ones, and may answer sadness cheerfully; a check stands behind it, which has a limit of its own.
- It was taught by short chats of paid strangers, with their habits and blind spots.
- It gives no advice on health, law or money that anybody should act on. It is no therapist, no medical device and no emergency service:
  the server answers danger with written text, never with this model.
"""


def render(manifest: Mapping[str, Any]) -> str:
    """Render the card for the manifest of `onnx/`."""
    return _BODY.format(
        parameters=f"{manifest['parameters'] / 1e6:.1f} M",
        window=manifest["window"],
        vocabulary=f"{manifest['training']['config']['vocabulary']:,}",
        precision=manifest["precision"],
        prompt=manifest["prompt"],
        unmeasured=UNMEASURED,
    )
