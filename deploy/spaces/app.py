"""EmpatheticAI as a Hugging Face Space: the server on the Space's port, its page in the Space's frame."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(next(folder for folder in (HERE / "server", HERE.parents[1] / "server") if folder.is_dir())))
os.environ.setdefault("EMPATHETIC_MODEL_REPOSITORY", str(Path(sys.path[0]).parent / "model_repository"))
os.environ.setdefault("EMPATHETIC_HOST", "0.0.0.0")  # noqa: S104  # the Space's own network reaches it
os.environ.setdefault("EMPATHETIC_PORT", os.environ.get("GRADIO_SERVER_PORT", "7860"))
os.environ.setdefault("EMPATHETIC_SESSIONS", "memory://")
os.environ.setdefault("EMPATHETIC_ALLOWED_ORIGINS", "https://huggingface.co")

from empathetic_server.__main__ import main  # noqa: E402  # found by the path above

if __name__ == "__main__":
    main()
