"""Renders a checkpoint's README.md, a model card in the Hub's format. Knows no files: numbers come in, text goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from .tables import rules_table

FILE = "README.md"

_BODY = """---
{front_matter}
---

# Emotion classifier

Scores {label_count} emotions in a short English text, each on its own: a text may have several, or none but "neutral".
Trained by EmpatheticAI from `{base}` with {pooling} pooling and {loss} loss, at most {max_length} tokens.

## Results

Thresholds were fitted on the dev split alone; the test split was used for this table alone. Intervals are 95 %, by bootstrap
over texts. Of {test_texts} test texts, {repeated} also occur in train and are counted. Scores on dev flatter the fitted thresholds.

```
{table}
```

Expected calibration error on test: {calibration:.4f}.

| label | test texts | threshold | precision | recall | F1 |
|---|---|---|---|---|---|
{labels}

## Use

`config.json` says how token vectors are pooled (`pooling`) and which label is which (`id2label`); `thresholds.json` holds the
thresholds; `model.safetensors` holds the encoder under `encoder.*` and one linear layer under `classifier.*`. A label is
decided when the sigmoid of its logit reaches its threshold. `empathetic-export` turns the directory into ONNX.

## Data

{source}. SHA-256 of each split is in `training.json`, beside settings and versions.

## Limits

GoEmotions holds comments of one English forum, rated by few people each: a model of it repeats their usage, their blind spots
and their biases, misses irony, and is unsure about rare emotions (see the table). It is no medical device and says nothing about
a person's health.
"""


def render(training: Mapping[str, Any], split_reports: Mapping[str, Any], *, hub_model_id: str | None = None) -> str:
    """Render the card of a finished run.

    Args:
        training: the content of `training.json`.
        split_reports: `evaluation.report` of each split.
        hub_model_id: the model's name on the Hub, if it has one.
    """
    settings, test = training["config"], split_reports["test"]
    from_hub = training["data"]["source"] != "local files"
    rows = "\n".join(
        f"| {row['label']} | {row['support']} | {row['threshold']:.2f} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} |"
        for row in test["per_label"]
    )
    return _BODY.format(
        front_matter=_front_matter(training, test["rules"], hub_model_id).strip(),
        label_count=len(test["per_label"]),
        base=_base(settings),
        pooling={"first": "first-token", "mean": "mean"}[settings["pooling"]],
        loss=settings["loss"],
        max_length=training["max_length"],
        test_texts=test["texts"],
        repeated=training["data"]["also_in_train"]["test"],
        table=rules_table(split_reports),
        calibration=test["calibration"]["expected_calibration_error"],
        labels=rows,
        source=f"`{training['data']['source']}`, configuration `simplified`" if from_hub else "Local TSV files in the layout of GoEmotions",
    )


def _front_matter(training: Mapping[str, Any], rules: Mapping[str, Any], hub_model_id: str | None) -> str:
    source = training["data"]["source"]
    names = {"micro_f1": "micro F1", "macro_f1": "macro F1"}
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="Multi-label emotion classification",
            dataset_type=source if source != "local files" else "go_emotions",
            dataset_name="GoEmotions (simplified)" if source != "local files" else "local files in GoEmotions' layout",
            dataset_split="test",
            metric_type="f1",
            metric_name=f"{names[name]}, {rule.replace('_', ' ')} threshold",
            metric_value=round(rules[rule][name], 4),
        )
        for rule in rules
        for name in names
    ]
    data = ModelCardData(
        language="en",
        base_model=training["base_model"],
        datasets=[source] if source != "local files" else None,
        metrics=["f1"],
        pipeline_tag="text-classification",
        tags=["emotion", "multi-label", "empathetic-ai"],
        model_name=hub_model_id or "emotion-classifier",
        eval_results=results,
    )
    return str(data.to_yaml())


def _base(settings: Mapping[str, Any]) -> str:
    return (
        "the average of " + ", ".join(settings["average"]) if settings["average"] else str(settings["model_name"]).removeprefix("package:")
    )
