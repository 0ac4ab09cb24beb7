"""`/v1/completions`: from a request to a job, and from its updates to a response or a stream."""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import torch
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.sampling.generate import encode_prompt
from nanogpt.serving.api import ApiError, CompletionRequest, JsonResponse, to_json
from nanogpt.serving.engine import Engine
from nanogpt.serving.jobs import Job, Prompt, Score, Update
from nanogpt.serving.metrics import Metrics
from nanogpt.text.tokenizer import Tokenizer, UnknownCharacters

SEED_BITS = 53
"""Bits of a random seed: as many as a number in JavaScript holds."""
LONG_TEXT = 16_384
"""Characters from which a text is encoded in a thread, so that other requests go on."""
LOWEST = -9999.0
"""The log-probability reported for an impossible token: JSON has no infinity."""
CLIENT_CLOSED = 499
"""nginx's status for a client that disconnected."""

Found = TypeVar("Found")


async def complete(engine: Engine, body: CompletionRequest, request: Request, metrics: Metrics) -> Response:
    """Answer one request. Raises ApiError if the request is invalid or cannot be served."""
    try:
        body.check()
    except ValueError as error:
        raise ApiError(400, str(error), str(error).split()[0], "invalid_value") from None
    job = await make_job(engine, body)
    builder = ResponseBuilder(engine, body, job)
    engine.submit(job)
    metrics.observe_first_token(job, body.model)
    if body.stream:
        return EventStream(builder.events(), lambda: engine.cancel(job))
    try:
        found = await unless_disconnected(builder.whole(), request.receive)
    except Exception as error:
        raise as_api_error(error) from error
    finally:
        engine.cancel(job)
    return JsonResponse(found) if found is not None else Response(status_code=CLIENT_CLOSED)


async def make_job(engine: Engine, body: CompletionRequest) -> Job:
    """Return the job of a request. Raises ApiError naming what exceeds a limit or is out of range."""
    limits, tokens = engine.limits, 16 if body.max_tokens is None else body.max_tokens
    if tokens > limits.max_tokens:
        message = f"max_tokens is {tokens}: choose at most {limits.max_tokens}"
        raise ApiError(400, message, "max_tokens", "invalid_value")
    config = sample_config(body)
    prompts = await read_prompts(engine, body)
    size, most = len(prompts) * config.samples, engine.rows + limits.queue
    if size > most:
        raise ApiError(400, f"{len(prompts)} prompts with n {config.samples} ask for {size} texts; at most {most}", "n")
    scored = body.logprobs is not None and bool(body.echo)
    return Job(prompts, config, tokens, engine.tokenizer, body.logprobs, scored)


def sample_config(body: CompletionRequest) -> SampleConfig:
    """Return how to sample a request's texts; null is the default, and a missing seed is drawn."""
    return SampleConfig(  # `CompletionRequest` allows only what this does
        tokens=max(1, body.max_tokens or 1),
        temperature=1.0 if body.temperature is None else body.temperature,
        top_k=body.top_k,
        top_p=None if body.top_p in (None, 1) else body.top_p,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty or 1.0,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        seed=secrets.randbits(SEED_BITS) if body.seed is None else body.seed,
        samples=body.n or 1,
    )


async def read_prompts(engine: Engine, body: CompletionRequest) -> list[Prompt]:
    """Return the prompts of a request, given in any of OpenAI's four forms."""
    given: Any = "" if body.prompt is None else body.prompt
    if not isinstance(given, str) and not given:
        raise ApiError(400, "the list of prompts is empty: give at least one, it may be an empty text", "prompt")
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
    """Return one prompt, given as text or as token ids."""
    tokenizer = engine.tokenizer
    if isinstance(given, str):
        ids = torch.from_numpy(await encode(engine, given, unknown)).long()
        start = ids if len(ids) else encode_prompt(tokenizer, "")
        return Prompt(given if unknown == "error" else tokenizer.decode(ids.tolist()), ids, start)
    if not given:
        raise ApiError(400, "the list of token ids is empty: give an empty text instead", "prompt")
    if (largest := max(given)) >= tokenizer.vocab_size:
        raise ApiError(400, f"token id {largest} is not below the vocabulary size {tokenizer.vocab_size}", "prompt")
    ids = torch.tensor(given, dtype=torch.long)
    return Prompt(tokenizer.decode(given), ids, ids)


async def encode(engine: Engine, text: str, unknown: Any) -> Any:
    """Return the token ids (T,) of a text. Raises ApiError 400 naming unknown characters."""
    try:
        if len(text) < LONG_TEXT:
            return engine.tokenizer.encode(text, unknown)
        return await asyncio.to_thread(engine.tokenizer.encode, text, unknown)
    except UnknownCharacters as error:
        message = f"{error.problem}, or set unknown to 'skip'"
        raise ApiError(400, message, "prompt", "unknown_characters") from None


class ResponseBuilder:
    """The response to one request, as one object or as a stream of events."""

    def __init__(self, engine: Engine, body: CompletionRequest, job: Job) -> None:
        self.job = job
        self.with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self.writers = [ChoiceWriter(job, index, bool(body.echo)) for index in range(job.size)]
        self.made = 0
        """tokens of all texts"""
        self.head = {
            "id": f"cmpl-{secrets.token_hex(12)}", "object": "text_completion", "created": int(time.time()),
            "model": body.model, "system_fingerprint": engine.about, "seed": job.config.seed,
        }  # fmt: skip

    def choices(self, updates: list[Update]) -> list[dict[str, Any]]:
        """Return the next piece of each choice that has updates."""
        by_text: dict[int, list[Update]] = {}
        for one in updates:
            by_text.setdefault(one.index, []).append(one)
            self.made += one.token is not None
        return [self.writers[index].add(each) for index, each in by_text.items()]

    def usage(self) -> dict[str, int]:
        """Return the numbers of tokens: of the prompts, each counted once, and of the texts."""
        read = sum(len(prompt.ids) for prompt in self.job.prompts)
        return {"prompt_tokens": read, "completion_tokens": self.made, "total_tokens": read + self.made}

    async def whole(self) -> dict[str, Any]:
        """Return the whole response."""
        found: list[list[Update]] = [[] for _ in self.writers]
        async for updates in self.job.updates():
            for one in updates:
                found[one.index].append(one)
        choices = self.choices([one for each in found for one in each])
        return self.head | {"choices": choices, "usage": self.usage()}

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the response event by event; an error on the way is an event, too."""
        always = {"usage": None} if self.with_usage else {}
        try:
            async for updates in self.job.updates():
                for choice in self.choices(updates):
                    if choice["text"] or choice["finish_reason"]:
                        yield to_json(self.head | {"choices": [choice]} | always)
            if self.with_usage:
                yield to_json(self.head | {"choices": [], "usage": self.usage()})
        except Exception as error:  # the response has begun: its status can no longer report it
            yield to_json(as_api_error(error).body())
        yield b"[DONE]"


def as_api_error(error: Exception) -> ApiError:
    """Return what a client may know of an engine's error: the message only where a person can fix it."""
    if isinstance(error, ApiError):
        return error
    return ApiError(500, str(error) if isinstance(error, UserError) else "generating failed: see the server's log")


class ChoiceWriter:
    """One choice of a response: pieces of text, and log-probabilities of the tokens whose text was sent."""

    def __init__(self, job: Job, index: int, echo: bool) -> None:
        self._job, self._index, self._echo = job, index, echo
        self._prompt_index = index // job.config.samples
        self._decoder = job.tokenizer.decoder()
        self._known = self._sent = 0
        """characters that the tokens so far complete; characters that were sent"""
        self._unsent: deque[tuple[int, int, Score | None]] = deque()
        """tokens that were not reported yet: offset in the text, id, score"""
        self._begun = False

    def add(self, updates: Iterable[Update]) -> dict[str, Any]:
        """Return the next piece in OpenAI's form; the first includes the prompt if `echo` is set."""
        text, finish = self._prompt(), None
        for one in updates:
            text, finish = text + one.piece, one.finish
            if one.token is not None:
                self._add_token(one.token, one.score)
        self._sent += len(text)
        return {"index": self._index, "text": text, "logprobs": self._logprobs(), "finish_reason": finish}

    def _prompt(self) -> str:
        if self._begun or not self._echo:
            return ""
        self._begun = True
        prompt = self._job.prompts[self._prompt_index]
        if self._job.logprobs is not None:
            for token, score in zip(prompt.ids.tolist(), [None, *self._job.prompt_scores[self._prompt_index]]):
                self._add_token(token, score)
        # A new decoder for the model's text: it does not complete a character that the prompt left incomplete.
        self._decoder, self._known = self._job.tokenizer.decoder(), len(prompt.text)
        return prompt.text

    def _add_token(self, token: int, score: Score | None) -> None:
        if self._job.logprobs is not None:
            self._unsent.append((self._known, token, score))
            self._known += len(self._decoder.feed(token))

    def _logprobs(self) -> dict[str, Any] | None:
        """Return the log-probabilities of the tokens whose text has been sent."""
        if self._job.logprobs is None:
            return None
        found: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        while self._unsent and self._unsent[0][0] < self._sent:
            offset, token, score = self._unsent.popleft()
            text = token_text(self._job.tokenizer, token)
            found["tokens"].append(text)
            found["text_offset"].append(offset)
            found["token_logprobs"].append(None if score is None else max(score.value, LOWEST))
            found["top_logprobs"].append(None if score is None else self._top(text, score))
        return found

    def _top(self, text: str, score: Score) -> dict[str, float]:
        """Return the likeliest tokens by their texts, and the token itself; of equal texts the likeliest."""
        found: dict[str, float] = {}
        for token, value in score.top:
            found.setdefault(token_text(self._job.tokenizer, token), max(value, LOWEST))
        found.setdefault(text, max(score.value, LOWEST))
        return found


def token_text(tokenizer: Tokenizer, token: int) -> str:
    r"""Return a token's text; incomplete characters are written as bytes, as OpenAI does.

    >>> from nanogpt.text.bpe import ByteTokenizer
    >>> token_text(ByteTokenizer(), 65), token_text(ByteTokenizer(), 195)
    ('A', 'bytes:\\xc3')
    """
    text, content = tokenizer.decode([token]), tokenizer.bytes_by_id[token]
    if "\ufffd" not in text or "\ufffd".encode() in content:  # the second: the replacement character itself
        return text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


async def unless_disconnected(work: Awaitable[Found], receive: Receive) -> Found | None:
    """Return the result of `work`; where the client disconnects first, cancel it and return None."""

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, gone):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(doing, gone, return_exceptions=True)


class EventStream(Response):
    """Server-sent events, each sent at once. `close` is called at the end, also after an error."""

    def __init__(self, events: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        super().__init__(
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"}, media_type="text/event-stream"
        )
        del self.headers["content-length"]  # of the empty body
        self._events, self._close = events, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until the end, or until the client disconnects."""
        try:
            await unless_disconnected(self._send_all(send), receive)
        finally:
            self._close()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for event in self._events:
            await send({"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
