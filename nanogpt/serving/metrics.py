"""Figures for Prometheus: requests, tokens, times and load. Each server has its own registry."""

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanogpt.serving.engine import Engine
from nanogpt.serving.jobs import Job

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
Family = type[GaugeMetricFamily] | type[CounterMetricFamily]
FIGURES: dict[str, tuple[Family, str, Callable[[Engine], float]]] = {
    "running": (GaugeMetricFamily, "Texts that are being generated", lambda engine: engine.running),
    "waiting": (GaugeMetricFamily, "Texts that wait", lambda engine: engine.waiting),
    "places": (GaugeMetricFamily, "Texts that can be generated at once", lambda engine: engine.rows),
    "tokens": (CounterMetricFamily, "Tokens generated", lambda engine: engine.tokens),
    "prompt_tokens": (CounterMetricFamily, "Tokens of prompts", lambda engine: engine.prompt_tokens),
    "steps": (CounterMetricFamily, "Steps, each one token of every text", lambda engine: engine.steps),
    "step_seconds": (CounterMetricFamily, "Seconds in steps", lambda engine: engine.step_seconds),
}


class Metrics(Collector):
    """The figures of one server."""

    def __init__(self) -> None:
        self.engines: dict[str, Engine] = {}
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

    def collect(self) -> Iterator[Metric]:
        """Yield the present figures of the engines; called by the registry."""
        for key, (family, about, read) in FIGURES.items():
            metric = family(f"nanogpt_{key}", about, labels=["model"])
            for name, engine in self.engines.items():
                metric.add_metric([name], read(engine))
            yield metric

    def observe_first_token(self, job: Job, model: str) -> None:
        """Record the time until the job's first token."""
        job.on_first = lambda: self.first_token.labels(model).observe(time.monotonic() - job.began)


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
