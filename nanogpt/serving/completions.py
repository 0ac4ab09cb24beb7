"""`/v1/completions`: a request becomes a job, and its news one answer or a stream of server-sent events."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import torch
from starlette.requests import Request
from starlette.responses import Response

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.sampling.text import encode_prompt
from nanogpt.serving.choices import ChoiceWriter
from nanogpt.serving.engine import Engine
from nanogpt.serving.errors import ApiError, to_json
from nanogpt.serving.jobs import Job, News, Prompt
from nanogpt.serving.metrics import Metrics
from nanogpt.serving.requests import CompletionRequest
from nanogpt.serving.responses import EventStream, JsonResponse, unless_gone

SEED_BITS = 53
"""Of a seed that is drawn here: as many as a number of JavaScript holds."""
LONG_TEXT = 16_384
"""Characters from which on a text is encoded in a thread, so that others are answered meanwhile."""


class Answer:
    """What the parts of one answer have in common."""

    def __init__(self, engine: Engine, body: CompletionRequest, job: Job) -> None:
        self.engine, self.job, self.usage_wanted = (
            engine,
            job,
            bool(body.stream_options and body.stream_options.include_usage),
        )
        self.writers = [ChoiceWriter(job, index, bool(body.echo)) for index in range(job.size)]
        self.made = 0
        """tokens of all texts"""
        self.head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": body.model,
            "system_fingerprint": engine.about,
            "seed": job.config.seed,
        }

    def parts(self, news: list[News]) -> list[dict[str, Any]]:
        """The next pieces of the choices that there is news of."""
        by_text: dict[int, list[News]] = {}
        for one in news:
            by_text.setdefault(one.index, []).append(one)
            self.made += one.token is not None
        return [self.writers[index].add(each) for index, each in by_text.items()]

    def usage(self) -> dict[str, int]:
        """Tokens read, each prompt once, and tokens made."""
        read = sum(len(prompt.ids) for prompt in self.job.prompts)
        return {"prompt_tokens": read, "completion_tokens": self.made, "total_tokens": read + self.made}

    async def whole(self) -> dict[str, Any]:
        """All at once."""
        found: list[list[News]] = [[] for _ in self.writers]
        async for news in self.job.news():
            for one in news:
                found[one.index].append(one)
        choices = self.parts([one for each in found for one in each])
        return self.head | {"choices": choices, "usage": self.usage()}

    async def events(self) -> AsyncIterator[bytes]:
        """Piece by piece; what goes wrong on the way is an event, too."""
        always = {"usage": None} if self.usage_wanted else {}
        try:
            async for news in self.job.news():
                for part in self.parts(news):
                    if part["text"] or part["finish_reason"]:
                        yield _event(self.head | {"choices": [part]} | always)
            if self.usage_wanted:
                yield _event(self.head | {"choices": [], "usage": self.usage()})
        except Exception as error:  # the answer has begun: its status can no longer say so
            yield _event(as_api_error(error).body())
        yield b"data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


def as_api_error(error: Exception) -> ApiError:
    """What a client is told of an error in the engine; only what a person can mend is told in words."""
    if isinstance(error, ApiError):
        return error
    return ApiError(500, str(error) if isinstance(error, UserError) else "generating failed: the server's log says why")


async def complete(engine: Engine, body: CompletionRequest, request: Request, metrics: Metrics) -> Response:
    """Answer one request. Raises ApiError for what cannot be done."""
    try:
        body.check()
    except ValueError as error:
        raise ApiError(400, str(error), str(error).split()[0], "invalid_value") from None
    job = await make_job(engine, body)
    answer = Answer(engine, body, job)
    engine.submit(job)
    metrics.watch(job, body.model)
    if body.stream:
        return EventStream(answer.events(), lambda: engine.cancel(job))
    try:
        found = await unless_gone(answer.whole(), request.receive)
    except Exception as error:
        raise as_api_error(error) from error
    finally:
        engine.cancel(job)
    return JsonResponse(found) if found is not None else Response(status_code=499)


async def make_job(engine: Engine, body: CompletionRequest) -> Job:
    """The job that a request asks for. Raises ApiError naming what is beyond a limit or out of range."""
    limits, tokens = engine.limits, 16 if body.max_tokens is None else body.max_tokens
    if tokens > limits.max_tokens:
        raise ApiError(
            400, f"max_tokens is {tokens}; choose at most {limits.max_tokens}", "max_tokens", "invalid_value"
        )
    config = sample_config(engine, body)
    prompts = await read_prompts(engine, body)
    size, most = len(prompts) * config.samples, engine.room + limits.queue
    if size > most:
        raise ApiError(400, f"{len(prompts)} prompts with n {config.samples} ask for {size} texts; at most {most}", "n")
    scored = body.logprobs is not None and bool(body.echo)
    return Job(prompts, config, tokens, engine.tokenizer, body.logprobs, scored)


def sample_config(engine: Engine, body: CompletionRequest) -> SampleConfig:
    """How a request's texts are drawn; null is the default, and a seed is drawn where none is given."""
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    try:
        return SampleConfig(
            tokens=max(1, body.max_tokens or 1),
            temperature=1.0 if body.temperature is None else body.temperature,
            top_k=body.top_k,
            top_p=None if body.top_p in (None, 1) else body.top_p,
            min_p=body.min_p,
            repetition_penalty=body.repetition_penalty or 1.0,
            stop=stop,
            seed=secrets.randbits(SEED_BITS) if body.seed is None else body.seed,
            samples=body.n or 1,
        )
    except UserError as error:
        raise ApiError(400, str(error)) from None


async def read_prompts(engine: Engine, body: CompletionRequest) -> list[Prompt]:
    """The prompts of a request, in any of OpenAI's four forms."""
    given: Any = "" if body.prompt is None else body.prompt
    if not isinstance(given, str) and not given:
        raise ApiError(400, "the list of prompts is empty: give one, it may be an empty text", "prompt")
    if isinstance(given, str) or isinstance(given[0], int):
        given = [given]
    if len(given) > engine.limits.prompts:
        raise ApiError(400, f"{len(given)} prompts in one request; at most {engine.limits.prompts}", "prompt")
    found = [await read_prompt(engine, one, body.unknown) for one in given]
    read, most = sum(len(prompt.ids) for prompt in found), engine.limits.prompt_tokens
    if read > most:
        raise ApiError(400, f"prompts of {read} tokens; at most {most}", "prompt", "context_length_exceeded")
    return found


async def read_prompt(engine: Engine, given: str | list[int], unknown: Any) -> Prompt:
    """One prompt, as text or as ids."""
    tokenizer = engine.tokenizer
    if isinstance(given, str):
        ids = torch.from_numpy(await encode(engine, given, unknown)).long()
        start = ids if len(ids) else encode_prompt(tokenizer, "")
        return Prompt(given if unknown == "error" else tokenizer.decode(ids.tolist()), ids, start)
    if not given:
        raise ApiError(400, "a prompt of token ids is empty: give an empty text instead", "prompt")
    if max(given) >= tokenizer.vocab_size:
        raise ApiError(
            400, f"token id {max(given)} is not below {tokenizer.vocab_size}, the vocabulary's size", "prompt"
        )
    ids = torch.tensor(given, dtype=torch.long)
    return Prompt(tokenizer.decode(given), ids, ids)


async def encode(engine: Engine, text: str, unknown: Any) -> Any:
    """Token ids (T,) of a text. Raises ApiError 400 naming characters that the model never saw."""
    try:
        if len(text) < LONG_TEXT:
            return engine.tokenizer.encode(text, unknown)
        return await asyncio.to_thread(engine.tokenizer.encode, text, unknown)
    except UserError as error:
        raise ApiError(400, str(error), "prompt", "unknown_characters") from None
