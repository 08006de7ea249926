"""Prometheus metrics of one application. Holds numbers and fixed label values, never text or identifiers."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a tokenised text (tens of microseconds) to a full queue (tens of seconds).
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One registry with every metric; an application has its own, so that several fit into one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        stages = Histogram(
            "empathetic_stage_seconds",
            "Time of a classification stage: tokenize and queue per request, batch (padding) and compute per batch.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokenize_seconds = stages.labels("tokenize")
        self.queue_seconds = stages.labels("queue")
        self.batch_seconds = stages.labels("batch")
        self.compute_seconds = stages.labels("compute")
        self.batch_texts = Histogram(
            "empathetic_batch_texts", "Texts in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=self.registry
        )
        self.batch_padding_ratio = Histogram(
            "empathetic_batch_padding_ratio",
            "Share of a batch's tokens that is padding.",
            buckets=(0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0),
            registry=self.registry,
        )
        queued = Gauge("empathetic_queued_texts", "Texts waiting for compute.", ["priority"], registry=self.registry)
        self.queued_texts: dict[Literal["interactive", "bulk"], Gauge] = {
            "interactive": queued.labels("interactive"),
            "bulk": queued.labels("bulk"),
        }
        self.dropped_texts = Counter(
            "empathetic_dropped_texts_total",
            "Texts dropped before compute: the client left or the deadline passed.",
            registry=self.registry,
        )
        self.classified_texts = Counter("empathetic_classified_texts_total", "Texts classified.", registry=self.registry)
        self.engine_ready = Gauge(
            "empathetic_engine_ready",
            "Whether a part of the server can work now, as /readyz says: 1 or 0.",
            ["part", "engine"],
            registry=self.registry,
        )
        self.triton_ready = Gauge(
            "empathetic_triton_ready", "Whether a Triton serves this server's model: 1 or 0.", ["address"], registry=self.registry
        )
        self.loop_delay_seconds = Histogram(
            "empathetic_loop_delay_seconds",
            "How late the event loop wakes a task that has slept.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1),
            registry=self.registry,
        )
        self.http_requests = Counter("empathetic_http_requests_total", "Requests answered.", ["route", "status"], registry=self.registry)
        self.http_seconds = Histogram(
            "empathetic_http_request_seconds", "Time from request to answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.turns = Counter("empathetic_turns_total", "Chat turns that ended.", ["finish_reason"], registry=self.registry)
        self.first_token_seconds = Histogram(
            "empathetic_first_token_seconds",
            "Time from a chat message to the first piece of its reply.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        store = Histogram(
            "empathetic_store_seconds",
            "Time that a turn waits for where conversations are kept: to accept, load, publish (a frame) and finish.",
            ["step"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.accept_seconds = store.labels("accept")
        self.load_seconds = store.labels("load")
        self.publish_seconds = store.labels("publish")
        self.finish_seconds = store.labels("finish")
        self.degraded = Counter(
            "empathetic_degraded_total", "Times that a part failed and a turn went on without it.", ["part"], registry=self.registry
        )
        self.generator_replies = Counter(
            "empathetic_generator_replies_total",
            "Replies that a generator was asked for, by how they came out: done, stopped, failed or guarded.",
            ["generator", "outcome"],
            registry=self.registry,
        )
        self.generator_seconds = Histogram(
            "empathetic_generator_seconds",
            "Time of a generator's reply: to its first piece, and to its end.",
            ["generator", "until"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.generated_tokens = Counter(
            "empathetic_generated_tokens_total", "Tokens of replies, by the generator's own count.", ["generator"], registry=self.registry
        )
        self.safety_seconds = Histogram(
            "empathetic_safety_seconds", "Time of a crisis check, without the classifier.", buckets=_SECONDS, registry=self.registry
        )
        self.crisis_referrals = Counter(
            "empathetic_crisis_referrals_total", "Messages answered with crisis contacts.", ["level"], registry=self.registry
        )
        self.guarded_replies = Counter(
            "empathetic_guarded_replies_total",
            "Generated replies stopped before something harmful was shown.",
            ["code"],
            registry=self.registry,
        )
        self.rejected_replies = Counter(
            "empathetic_rejected_replies_total",
            "Drafts of a small model that were not shown: empty, harmful, cheerful, condoling, repeated or unrelated.",
            ["reason"],
            registry=self.registry,
        )
        self.listeners = Gauge("empathetic_listeners", "Clients that follow a chat session now.", registry=self.registry)
        self.running_turns = Gauge("empathetic_running_turns", "Chat turns running now.", registry=self.registry)
        self.purged_sessions = Counter(
            "empathetic_purged_sessions_total", "Chat sessions deleted because their time was over.", registry=self.registry
        )
