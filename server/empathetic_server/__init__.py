"""The EmpatheticAI server: emotions over HTTP, from an engine inside the process."""

from .app import create_app
from .settings import Settings

__all__ = ["Settings", "create_app"]
