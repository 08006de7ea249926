"""Reads the crisis head that `empathetic-train crisis` wrote beside the classifier. Knows no inference library."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from ..errors import ArtifactError
from ..safety import CrisisHead
from .manifest import Manifest

logger = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
_REMEDY = "train it again with `empathetic-train crisis`, or delete it and do without the learned score"


def read_crisis_head(manifest: Manifest) -> CrisisHead | None:
    """Read `crisis_head.json`; None where there is none, and the rules then stand alone.

    Raises:
        ArtifactError: it is malformed, or was trained on another model.
    """
    path = manifest.directory / "crisis_head.json"
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        if fields["schema_version"] != _SCHEMA_VERSION:
            raise ArtifactError(f"{path}: schema version {fields['schema_version']}, this server reads {_SCHEMA_VERSION}; {_REMEDY}")
        trained_on = fields["model_sha256"]
        head = CrisisHead(
            weights=tuple(float(weight) for weight in fields["weights"]),
            bias=float(fields["bias"]),
            concern=float(fields["concern_threshold"]),
            high=float(fields["high_threshold"]),
        )
    except FileNotFoundError:
        logger.warning("no %s: the crisis check works by its rules alone", path.name)
        return None
    except OSError as exc:
        raise ArtifactError(f"{path}: {exc.strerror}; {_REMEDY}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ArtifactError(f"{path}: {exc!r}: not a crisis head; {_REMEDY}") from exc
    if trained_on != manifest.model_sha256:
        raise ArtifactError(f"{path}: trained on another model than 1/model.onnx; {_REMEDY}")
    if len(head.weights) != manifest.hidden_size:
        raise ArtifactError(f"{path}: {len(head.weights)} weights for {manifest.hidden_size} numbers of embedding; {_REMEDY}")
    if not all(map(math.isfinite, (*head.weights, head.bias))) or not 0 < head.concern <= head.high < 1:
        raise ArtifactError(f"{path}: weights must be finite, and 0 < concern_threshold <= high_threshold < 1; {_REMEDY}")
    return head
