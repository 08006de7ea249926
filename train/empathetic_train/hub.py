"""Pushes a finished checkpoint directory to the Hugging Face Hub. Knows no training; the Hub's client comes from outside in tests."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi

from .errors import HubError

logger = logging.getLogger(__name__)


class Api(Protocol):
    """What is called of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> Any:
        """Make a model repository."""

    def upload_folder(self, *, repo_id: str, folder_path: str, ignore_patterns: list[str], commit_message: str) -> Any:
        """Commit the files of a folder."""


def push(directory: Path, repo_id: str, *, api: Api | None = None) -> None:
    """Upload the checkpoint, without what is left of its run.

    Raises:
        HubError: no network, no permission, or no such name.
    """
    client: Api = api or HfApi()
    try:
        client.create_repo(repo_id, exist_ok=True)
        client.upload_folder(
            repo_id=repo_id, folder_path=str(directory), ignore_patterns=["run/**", ".*"], commit_message="Upload EmpatheticAI classifier"
        )
    except (OSError, ValueError) as exc:  # the client's HTTP errors are OSErrors, its errors about names ValueErrors
        reason = " ".join(str(exc).split())
        raise HubError(f"hub_model_id = {repo_id!r}: {reason or type(exc).__name__} (the finished model is in {directory})") from exc
    logger.info("pushed %s to %s", directory, repo_id)
