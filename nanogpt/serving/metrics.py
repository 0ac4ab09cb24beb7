"""Figures for Prometheus: requests, tokens, times and load. Each server has its own registry."""

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanogpt.serving.engine import Engine
from nanogpt.serving.jobs import Job

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
GAUGES: dict[str, tuple[str, Callable[[Engine], float]]] = {
    "running": ("Texts that are being generated", lambda engine: engine.running),
    "waiting": ("Texts that wait", lambda engine: engine.waiting),
    "places": ("Texts that can be generated at once", lambda engine: engine.rows),
}
COUNTERS: dict[str, tuple[str, Callable[[Engine], float]]] = {
    "tokens": ("Tokens generated", lambda engine: engine.tokens),
    "prompt_tokens": ("Tokens of prompts", lambda engine: engine.prompt_tokens),
    "steps": ("Steps, each one token of every text", lambda engine: engine.steps),
    "step_seconds": ("Seconds in steps", lambda engine: engine.step_seconds),
}


class Metrics(Collector):
    """The figures of one server."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.requests = Counter("nanogpt_requests", "Answered requests", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "nanogpt_request_seconds", "From a request to the end of its response", ["path"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.first_token = Histogram(
            "nanogpt_first_token_seconds", "From a request to its first token", ["model"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip

    def add(self, name: str, engine: Engine) -> None:
        """Add an engine."""
        self._engines[name] = engine

    def collect(self) -> Iterator[Metric]:
        """Yield the present figures of the engines; called by the registry."""
        for key, (about, read) in GAUGES.items():
            gauge = GaugeMetricFamily(f"nanogpt_{key}", about, labels=["model"])
            for name, engine in self._engines.items():
                gauge.add_metric([name], read(engine))
            yield gauge
        for key, (about, read) in COUNTERS.items():
            counter = CounterMetricFamily(f"nanogpt_{key}", about, labels=["model"])
            for name, engine in self._engines.items():
                counter.add_metric([name], read(engine))
            yield counter

    def observe_first_token(self, job: Job, model: str) -> None:
        """Record the time until the job's first token."""
        job.on_first = lambda: self.first_token.labels(model).observe(time.monotonic() - job.began)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)


class MetricsMiddleware:
    """Middleware that counts responses. A path that is not in `paths` counts as `other`."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        began, status = time.monotonic(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.monotonic() - began)
