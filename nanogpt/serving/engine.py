"""A thread that owns a model's batch: texts join and leave it between two steps (continuous batching).

Each text is what it would be alone. Waiting requests take turns, one text each, so a request for many texts does not
block a request for one. The prompts read between two steps are limited, so running texts go on.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping

from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.sampling.generate import Batch, Row, default_batch_size
from nanogpt.sampling.precision import lower_precision
from nanogpt.serving.api import ApiError
from nanogpt.serving.jobs import Job, Score, Text, Update, score_prompt, score_tokens
from nanogpt.serving.settings import Limits
from nanogpt.text.tokenizer import Tokenizer

READ_AT_ONCE = 1024
"""Prompt tokens read between two steps (at least one window): about the time of ten steps of a full batch."""
LOG = logging.getLogger("nanogpt.serving")


class Engine:
    """Generates texts for any number of requests. `submit` and `cancel` may be called from any thread."""

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        *,
        rows: int | None = None,
        limits: Limits | None = None,
        precision: str = "float32",
        about: str = "",
    ) -> None:
        """Generate up to `rows` texts at once (None: as many as fit); `about` names the weights in responses."""
        self.model, self.tokenizer = lower_precision(model.eval(), precision), tokenizer
        self.config, self.limits, self.precision, self.about = model.config, limits or Limits(), precision, about
        self.rows = rows or default_batch_size(model.config)
        self.created = int(time.time())
        self.tokens = self.prompt_tokens = self.steps = 0
        """since the start, like `step_seconds`"""
        self.step_seconds = 0.0
        self._batch = Batch(self.model, self.rows)
        self.cache_bytes = sum(layer.k.nbytes + layer.v.nbytes for layer in self._batch.cache.layers)
        self._texts: dict[Row, Text] = {}
        self._waiting: deque[Job] = deque()
        self._jobs: set[Job] = set()
        self._closing = self._stopped = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="nanogpt-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the engine accepts requests."""
        return self._thread.is_alive() and not self._closing

    @property
    def running(self) -> int:
        """The number of texts in the batch."""
        return len(self._texts)

    @property
    def waiting(self) -> int:
        """The number of texts that wait to join it."""
        with self._condition:
            return sum(job.size - job.started for job in self._waiting)

    def submit(self, job: Job) -> None:
        """Add a job to the queue. Raises ApiError 429 where the queue is full, and 503 when the engine is closing."""
        with self._condition:
            if not self.alive:
                raise stopping_error()
            load = sum(one.unfinished for one in self._jobs)
            if load + job.size > self.rows + self.limits.queue:
                raise ApiError(
                    429,
                    f"the queue is full ({load} of {self.rows + self.limits.queue} texts, {job.size} more asked for): "
                    f"try again later",
                    code="queue_full",
                    retry=1,
                )
            self._jobs.add(job)
            self._waiting.append(job)
            self._condition.notify_all()

    def cancel(self, job: Job) -> None:
        """Remove a job whose client disconnected or has everything; its rows are free after the present step."""
        with self._condition:
            job.cancelled = True
            self._jobs.discard(job)
            if job in self._waiting:
                self._waiting.remove(job)
            self._condition.notify_all()

    def close(self, grace_seconds: float = 0.0) -> None:
        """Accept no more jobs, let present ones finish for `grace_seconds`, and end the rest with an error."""
        with self._condition:
            self._closing = True
            self._condition.wait_for(lambda: not self._jobs, grace_seconds)
            self._stopped = True
            self._condition.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._wait():
                for row in [row for row, text in self._texts.items() if text.job.cancelled]:
                    self._remove(row)
                self._admit()
                if self._texts:
                    try:
                        self._step()
                    except Exception as error:  # whatever a model, its device or its memory raises
                        self._fail(error)
        finally:  # whatever ended it, no client waits for ever
            with self._condition:
                self._closing = True
                remaining = list(self._jobs)
            for job in remaining:
                self._end(job, stopping_error())

    def _wait(self) -> bool:
        """Wait until there is something to do; return False at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or self._waiting or self._texts)
            return not self._stopped

    def _remove(self, row: Row) -> None:
        self._batch.leave(row)
        del self._texts[row]

    def _admit(self) -> None:
        """Score prompts of waiting jobs and let their texts join, up to the tokens read between two steps."""
        budget = max(READ_AT_ONCE, self.config.block_size)
        while budget > 0:
            with self._condition:
                if not self._waiting:
                    return
                job = self._waiting[0]
                if not job.to_score and job.tokens and len(self._texts) == self.rows:
                    return
                self._waiting.popleft()
            try:
                budget -= self._advance(job)
            except Exception as error:  # it concerns only this job's prompt
                self._log(error)
                self._end(job, error)
                continue
            with self._condition:
                if job.started < job.size and not job.cancelled:
                    self._waiting.append(job)

    def _advance(self, job: Job) -> int:
        """Score one window of a job's prompt, or let one text join. Returns the tokens to read for it."""
        if job.to_score:
            return self._score(job)
        if not job.tokens:
            job.started = job.size
            self._deliver({job: [Update(index, "", finish="length") for index in range(job.size)]})
            return 1
        text = next(job.pending)
        row = self._batch.join(text.prompt.start, job.config, text.number)
        self._texts[row] = text
        job.started += 1
        self.prompt_tokens += len(text.prompt.ids)
        return len(row.window)

    def _score(self, job: Job) -> int:
        """Score one window of the first prompt that is not scored yet."""
        index, count = job.to_score[0], job.logprobs or 0
        if job.scoring is None:
            ids = job.prompts[index].ids.to(self.model.token_embedding.weight.device)
            job.scoring = score_prompt(self.model, ids, count)
        scores = next(job.scoring, None)
        if scores is None:
            job.scoring = None
            job.to_score.pop(0)
            return 1
        job.prompt_scores[index].extend(scores)
        return self.config.block_size

    def _step(self) -> None:
        """Generate a token for each text, and deliver it."""
        began = time.perf_counter()
        tokens, rows = self._batch.step(), list(self._batch.rows)
        self.steps, self.tokens = self.steps + 1, self.tokens + len(tokens)
        texts = [self._texts[row] for row in rows]
        scores = self._scores(texts, tokens)
        updates: dict[Job, list[Update]] = {}
        for index, (row, text, token) in enumerate(zip(rows, texts, tokens)):
            update = text.feed(token, scores.get(index))
            updates.setdefault(text.job, []).append(update)
            if update.finish is not None:
                self._remove(row)
        self.step_seconds += time.perf_counter() - began
        self._deliver(updates)

    def _scores(self, texts: list[Text], tokens: list[int]) -> dict[int, Score]:
        """Return, by index, the scores of the tokens whose jobs ask for them."""
        counts = {index: text.job.logprobs for index, text in enumerate(texts) if text.job.logprobs is not None}
        if not counts:
            return {}
        indices, most = list(counts), max(counts.values())
        found = score_tokens(self._batch.logits[indices], [tokens[index] for index in indices], most)
        return {index: Score(one.value, one.top[: counts[index]]) for index, one in zip(indices, found)}

    def _deliver(self, updates: Mapping[Job, list[Update]], error: Exception | None = None) -> None:
        """Pass updates to the event loops of their jobs, in one call per loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, list[Update]]]] = {}
        with self._condition:
            for job, each in updates.items():
                job.unfinished -= sum(one.finish is not None for one in each)
                if not job.unfinished or error:
                    self._jobs.discard(job)
                by_loop.setdefault(job.loop, []).append((job, each))
            self._condition.notify_all()
        for loop, some in by_loop.items():
            try:
                loop.call_soon_threadsafe(_receive, some, error)
            except RuntimeError:  # the loop was closed, and with it its readers
                for job, _ in some:
                    self.cancel(job)

    def _fail(self, error: Exception) -> None:
        """End the jobs in the batch after a failed step, and go on with an empty batch."""
        self._log(error)
        jobs = {text.job for text in self._texts.values()}
        self._texts.clear()
        self._batch.rows.clear()  # it keeps its memory: there may be none for a new one
        for job in jobs:
            self._end(job, error)

    def _end(self, job: Job, error: Exception) -> None:
        with self._condition:
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
        self._deliver({job: []}, error)

    def _log(self, error: Exception) -> None:
        if not isinstance(error, UserError | ApiError):
            LOG.error("a step failed", exc_info=error)


def stopping_error() -> ApiError:
    """Return the error of jobs that come, or still wait, when the server stops."""
    return ApiError(503, "the server is stopping: try again when it is back", code="stopping")


def _receive(some: list[tuple[Job, list[Update]]], error: Exception | None) -> None:
    for job, updates in some:
        job.receive(updates, error)
