"""The routes: OpenAI's models and completions, and beside them tokens, health and figures."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from nanogpt import __version__
from nanogpt.errors import nearest
from nanogpt.serving import answers
from nanogpt.serving.choices import token_text
from nanogpt.serving.completions import complete, encode
from nanogpt.serving.engine import Engine
from nanogpt.serving.errors import ApiError, from_validation
from nanogpt.serving.guard import guard
from nanogpt.serving.metrics import CONTENT_TYPE, Counted, Metrics
from nanogpt.serving.requests import CompletionRequest, TokenizeRequest, described
from nanogpt.serving.responses import JsonResponse
from nanogpt.serving.settings import Access, Limits
from nanogpt.text.tokenizer import Tokenizer

OWNER = "nanogpt"
EVENTS: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
STATUSES = {
    400: "what was asked for cannot be done; the message names the field",
    401: "the token is missing or wrong",
    403: "another server's page asked",
    404: "there is no such model, or no such path",
    408: "the body came too slowly",
    413: "the body is too large",
    421: "the request was meant for a server of another name",
    429: "too many texts wait already",
    500: "generating failed",
    503: "the server is stopping",
}
REFUSALS = (401, 403, 421)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route can fail, for the description of the interface. `4XX` keeps out the framework's own form."""
    told: dict[int | str, dict[str, Any]] = {"4XX": {"model": answers.Error, "description": "it cannot be answered"}}
    for number in (*statuses, *REFUSALS):
        told[number] = {"model": answers.Error, "description": STATUSES[number]}
    return told


def make_app(engines: Mapping[str, Engine], access: Access | None = None, limits: Limits | None = None) -> FastAPI:
    """An application that serves engines by the names of their models, guarded as `access` and `limits` say.

    The engines are the caller's, who closes them.
    """
    # The pages that describe the interface would load programs from elsewhere; /openapi.json is the description alone.
    app = FastAPI(title="nanogpt", version=__version__, docs_url=None, redoc_url=None)
    metrics = Metrics()
    router = make_router(engines, metrics)
    app.include_router(router)
    answer_errors(app)
    paths = frozenset({"/v1/models", "/v1/completions", "/v1/tokenize", "/healthz", "/metrics", "/openapi.json"})
    app.add_middleware(Guarded, access=access or Access(), limits=limits or Limits())
    app.add_middleware(Counted, metrics=metrics, paths=paths)
    return app


class Guarded:
    """`guard` in the form in which an application takes its layers."""

    def __init__(self, app: Any, access: Access, limits: Limits) -> None:
        self._guarded = guard(app, access, limits)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._guarded(scope, receive, send)


def make_router(engines: Mapping[str, Engine], metrics: Metrics) -> APIRouter:
    """The routes alone, for an application of one's own; it answers errors by `answer_errors`, and needs a guard."""
    router = APIRouter()
    for name, engine in engines.items():
        metrics.add(name, engine)

    def engine_of(name: str) -> Engine:
        if name not in engines:
            raise ApiError(404, f"no model {name[:100]!r} here; {nearest(name, engines)}", "model", "model_not_found")
        return engines[name]

    @router.get("/v1/models", response_model=answers.ModelList, responses=errors())
    async def list_models() -> Response:
        return JsonResponse({"object": "list", "data": [described_model(*one) for one in engines.items()]})

    @router.get("/v1/models/{model:path}", response_model=answers.Model, responses=errors(404))
    async def get_model(model: str) -> Response:
        return JsonResponse(described_model(model, engine_of(model)))

    @router.post(
        "/v1/completions",
        response_model=answers.Completion,
        responses=errors(400, 404, 408, 413, 429, 500, 503) | {200: {"content": EVENTS}},
    )
    async def completions(body: CompletionRequest, request: Request) -> Response:
        return await complete(engine_of(body.model), body, request, metrics)

    @router.post("/v1/tokenize", response_model=answers.Tokens, responses=errors(400, 404, 408, 413))
    async def tokenize(body: TokenizeRequest) -> Response:
        engine = engine_of(body.model)
        ids = (await encode(engine, body.prompt, body.unknown)).tolist()
        # In a thread, as a body may hold a million tokens, and others are answered meanwhile.
        return await asyncio.to_thread(told_tokens, body.model, engine.tokenizer, ids)

    @router.get("/healthz", response_model=answers.Health, responses={503: {"model": answers.Health}, **errors()})
    async def healthz() -> Response:
        alive = all(engine.alive for engine in engines.values())
        return JsonResponse({"status": "ok" if alive else "stopping"}, 200 if alive else 503)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **errors()})
    async def read_metrics() -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})

    return router


def described_model(name: str, engine: Engine) -> dict[str, Any]:
    """What /v1/models says of one."""
    sizes = {"context": engine.config.block_size, "vocabulary": engine.tokenizer.vocab_size}
    return {"id": name, "object": "model", "created": engine.created, "owned_by": OWNER, **sizes}


def told_tokens(name: str, tokenizer: Tokenizer, ids: list[int]) -> Response:
    """What /v1/tokenize says of a text."""
    texts = [token_text(tokenizer, token) for token in ids]
    return JsonResponse({"model": name, "count": len(ids), "tokens": ids, "texts": texts})


def answer_errors(app: FastAPI) -> None:
    """Let an application say in OpenAI's form what goes wrong, its own mistakes among it."""

    async def known(request: Request, error: Any) -> Response:
        return JsonResponse(error.body(), error.status, error.headers)

    async def invalid(request: Request, error: Any) -> Response:
        kind = TokenizeRequest if request.url.path.endswith("/tokenize") else CompletionRequest
        return await known(request, from_validation(error.errors(), described(kind)))

    async def of_framework(request: Request, error: Any) -> Response:
        found = ApiError(error.status_code, f"{request.method} {request.url.path[:100]}: {error.detail}")
        found.headers.update(error.headers or {})
        return await known(request, found)

    async def unknown(request: Request, error: Any) -> Response:
        return await known(request, ApiError(500, "this is a mistake of the server: its log says more"))

    app.add_exception_handler(ApiError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(Exception, unknown)
