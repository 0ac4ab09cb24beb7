"""The routes: OpenAI's models and completions, and also tokens, health and metrics."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import Response

from nanogpt import __version__
from nanogpt.errors import nearest
from nanogpt.serving import api
from nanogpt.serving.api import ApiError, CompletionRequest, JsonResponse, TokenizeRequest
from nanogpt.serving.completions import complete, encode, token_text
from nanogpt.serving.engine import Engine
from nanogpt.serving.metrics import CONTENT_TYPE, Metrics, MetricsMiddleware
from nanogpt.serving.middleware import ProtectionMiddleware
from nanogpt.serving.settings import Access, Limits

OWNER = "nanogpt"
EVENTS: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
REFUSALS = (401, 403, 421)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how a route can fail, for its description. `4XX` replaces the framework's own form."""
    found: dict[int | str, dict[str, Any]] = {"4XX": {"model": api.Error, "description": "the request failed"}}
    for number in (*statuses, *REFUSALS):
        found[number] = {"model": api.Error, "description": HTTPStatus(number).phrase}
    return found


def make_app(engines: Mapping[str, Engine], access: Access | None = None, limits: Limits | None = None) -> FastAPI:
    """Return an application that serves engines by model name; the caller closes the engines."""
    # FastAPI's pages of documentation would load scripts from other servers; /openapi.json is the description alone.
    app = FastAPI(title="nanogpt", version=__version__, docs_url=None, redoc_url=None)
    metrics = Metrics()
    app.include_router(make_router(engines, metrics))
    answer_errors(app)
    paths = frozenset({"/v1/models", "/v1/completions", "/v1/tokenize", "/healthz", "/metrics", "/openapi.json"})
    app.add_middleware(ProtectionMiddleware, access=access or Access(), limits=limits or Limits())
    app.add_middleware(MetricsMiddleware, metrics=metrics, paths=paths)
    return app


def make_router(engines: Mapping[str, Engine], metrics: Metrics) -> APIRouter:
    """Return the routes alone, for an application of your own; it needs `answer_errors` and protection."""
    router = APIRouter()
    metrics.engines.update(engines)

    def engine_of(name: str) -> Engine:
        if name not in engines:
            raise ApiError(404, f"no model {name[:100]!r}; {nearest(name, engines)}", "model", "model_not_found")
        return engines[name]

    @router.get("/v1/models", response_model=api.ModelList, responses=errors())
    async def list_models() -> Response:
        return JsonResponse({"object": "list", "data": [describe_model(*one) for one in engines.items()]})

    @router.get("/v1/models/{model:path}", response_model=api.Model, responses=errors(404))
    async def get_model(model: str) -> Response:
        return JsonResponse(describe_model(model, engine_of(model)))

    @router.post(
        "/v1/completions",
        response_model=api.Completion,
        responses=errors(400, 404, 408, 413, 429, 500, 503) | {200: {"content": EVENTS}},
    )
    async def completions(body: CompletionRequest, request: Request) -> Response:
        return await complete(engine_of(body.model), body, request, metrics)

    @router.post("/v1/tokenize", response_model=api.Tokens, responses=errors(400, 404, 408, 413))
    async def tokenize(body: TokenizeRequest) -> Response:
        engine = engine_of(body.model)
        ids = (await encode(engine, body.prompt, body.unknown)).tolist()

        def respond() -> Response:
            texts = [token_text(engine.tokenizer, token) for token in ids]
            return JsonResponse({"model": body.model, "count": len(ids), "tokens": ids, "texts": texts})

        return await asyncio.to_thread(respond)  # a body may have a million tokens, and other requests go on

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", response_model=api.Health, responses={503: {"model": api.Health}, **errors()})
    async def healthz() -> Response:
        alive = all(engine.alive for engine in engines.values())
        return JsonResponse({"status": "ok" if alive else "stopping"}, 200 if alive else 503)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **errors()})
    async def read_metrics() -> Response:
        return Response(generate_latest(metrics.registry), headers={"content-type": CONTENT_TYPE})

    return router


def describe_model(name: str, engine: Engine) -> dict[str, Any]:
    """Return what /v1/models reports of a model."""
    sizes = {"context": engine.config.block_size, "vocabulary": engine.tokenizer.vocab_size}
    return {"id": name, "object": "model", "created": engine.created, "owned_by": OWNER, **sizes}


def answer_errors(app: FastAPI) -> None:
    """Let an application report all errors in OpenAI's form, its own bugs included."""

    async def known(request: Request, error: Any) -> Response:
        return JsonResponse(error.body(), error.status, error.headers)

    async def invalid(request: Request, error: Any) -> Response:
        kind = TokenizeRequest if request.url.path.endswith("/tokenize") else CompletionRequest
        return await known(request, api.from_validation(error.errors(), api.field_descriptions(kind)))

    async def of_framework(request: Request, error: Any) -> Response:
        found = ApiError(error.status_code, f"{request.method} {request.url.path[:100]}: {error.detail}")
        found.headers.update(error.headers or {})
        return await known(request, found)

    async def unknown(request: Request, error: Any) -> Response:
        return await known(request, ApiError(500, "internal error: see the server's log"))

    app.add_exception_handler(ApiError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(Exception, unknown)
