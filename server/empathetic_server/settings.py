"""The server's configuration: environment variables over defaults. Knows no engine; reads nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .safety import Locale

# Tokens in a batch by engine (docs/log.md, Smaller batches): in the server, larger batches are no faster, and a person's message waits for
# them; Triton's have a way there and back, for which smaller ones cost a tenth of the throughput.
_BATCH_TOKENS = {"embedded": 128, "triton": 256}


class Settings(BaseSettings):
    """All settings; each is the environment variable EMPATHETIC_<NAME>. The defaults serve the committed model."""

    model_config = SettingsConfigDict(env_prefix="EMPATHETIC_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    classifier: Literal["embedded", "triton"] = Field(default="embedded", description="engine that detects emotions")
    triton_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1:8001",), min_length=1, description="HOST:PORT of each Triton's gRPC, divided by commas"
    )
    model_repository: Path = Field(
        default=Path("model_repository"), description="directory that holds emotion_classifier/; models/fast has one of twice the speed"
    )
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="cores that the classifier computes on (default: all)"
    )
    max_batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens in a batch, padding included; one text may exceed it "
        f"(default: {', '.join(f'{engine} {tokens}' for engine, tokens in _BATCH_TOKENS.items())})",
    )
    max_queued_texts: int = Field(default=8192, ge=1, description="texts of one priority that may wait; more are refused with 429")
    generator: Literal["auto", "vllm", "embedded", "written"] = Field(
        default="auto", description="engine that writes replies; auto: vllm if its URL is set, then embedded if RESPONDER is set"
    )
    vllm_url: str | None = Field(default=None, description="base URL of vLLM or another OpenAI-compatible server, ending in /v1")
    vllm_model: str | None = Field(default=None, description="model to ask for there (default: the first that it lists)")
    vllm_api_key: SecretStr | None = Field(default=None, description="key to send there")
    context_tokens: int | None = Field(
        default=None, ge=1024, description="tokens that a prompt and its reply may have together, with vllm (default: as many as it says)"
    )
    responder: Path | None = Field(
        default=None, description="directory of the embedded generator's model (default with embedded: models/responder/onnx)"
    )
    sessions: str = Field(
        default="sqlite:///empathetic-sessions.db",
        description="where conversations are kept: sqlite:///PATH, redis://[:PASSWORD@]HOST:PORT (several servers may share it) or memory://",
    )
    retention_days: int = Field(default=30, ge=1, description="conversations that nobody touched for so long are deleted")
    max_turns: int = Field(default=256, ge=1, description="replies written at once; more are refused with 429")
    page: bool = Field(default=True, description="serve the web page at /ui/; without it the server needs less memory")
    api_keys: SecretStr | None = Field(
        default=None, description="keys that may use /v1: keys or `sha256:HEX [NAME]` entries, divided by commas, or file:///PATH of them"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="origins of other web pages that may use this server or show its page, divided by commas"
    )
    trusted_proxies: str | None = Field(
        default=None, description="addresses or networks of proxies whose X-Forwarded-For is believed, divided by commas"
    )
    quota_per_key: str | None = Field(default=None, description="requests that one key may send, such as 600/minute")
    quota_per_address: str | None = Field(default=None, description="requests that one address may send, such as 60/minute")
    locale: Locale = Field(default="international", description="whose crisis contacts are named: us, gb, ie, ca, au, in or international")
    drain_delay_seconds: int = Field(
        default=0, ge=0, description="time after SIGTERM in which /readyz says `draining` and all is still answered, for load balancers"
    )
    drain_seconds: int = Field(default=30, ge=0, description="time that running requests have to finish after SIGTERM")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="lowest level that is logged")
    log_format: Literal["text", "json"] = Field(default="text", description="how a line of the log looks: text or json")

    @property
    def batch_tokens(self) -> int:
        """Tokens in a batch of the classifier, padding included: what is set, or what suits the engine."""
        return self.max_batch_tokens or _BATCH_TOKENS[self.classifier]

    @field_validator("allowed_origins", "triton_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("triton_urls")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            if not re.fullmatch(r"[^/\s]+:\d{1,5}", address):
                raise ValueError(f"{address!r} must be like 127.0.0.1:8001")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ValueError(f"{origin!r} must be like https://example.org, without a path")
        return value


def settings_table() -> str:
    """Return the settings as the Markdown table of the README."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        value = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        default = "" if field.default_factory is not None or value == "" else f"`{value}`"
        lines.append(f"| `EMPATHETIC_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)
