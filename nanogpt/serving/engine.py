"""A thread that owns a model's batch: texts join and leave it between two steps (continuous batching).

Each text is what it would be alone (`nanogpt.sampling.batch`). Places are given in turn, one text of each waiting
request after the other, so that a request for many does not keep out a request for one. What a step reads anew for
those who join is limited, so that those who are there go on meanwhile. Keys and values take the memory that they will
ever take from the start on.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping

from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.sampling.batch import Batch, Row
from nanogpt.sampling.cache import KeyValueCache
from nanogpt.sampling.precision import lower_precision
from nanogpt.sampling.room import rows_that_fit
from nanogpt.serving.errors import ApiError
from nanogpt.serving.jobs import Job, News, Text
from nanogpt.serving.scores import Score, score_prompt, score_tokens
from nanogpt.serving.settings import Limits
from nanogpt.text.tokenizer import Tokenizer

READ_AT_ONCE = 1024
"""Tokens of prompts read between two steps (at least one window): about what ten steps of a full batch cost."""
LOG = logging.getLogger("nanogpt.serving")


class WatchedBatch(Batch):
    """A batch that keeps what its last step predicted."""

    logits: Tensor
    """(B, V), before filters, in the order of `rows` at that step"""

    def _predict_on(self, cache: KeyValueCache) -> Tensor:
        self.logits = super()._predict_on(cache)
        return self.logits


class Engine:
    """Generates for any number of requests. `submit` and `cancel` may be called from any thread."""

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
        """`rows` texts at once (where it is None, as many as fit); `about` tells in answers which weights these are."""
        self.model, self.tokenizer = lower_precision(model.eval(), precision), tokenizer
        self.config, self.limits, self.precision, self.about = model.config, limits or Limits(), precision, about
        self.room = rows or rows_that_fit(model.config)
        self.created = int(time.time())
        self.tokens = self.prompt_tokens = self.steps = 0
        """since the start; so is `step_seconds`"""
        self.step_seconds = 0.0
        self._batch = WatchedBatch(self.model, self.room)
        self._texts: dict[Row, Text] = {}
        self._waiting: deque[Job] = deque()
        self._jobs: set[Job] = set()
        self._closing = self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="nanogpt-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._thread.is_alive() and not self._closing

    @property
    def running(self) -> int:
        """Texts that have a place in the batch."""
        return len(self._texts)

    @property
    def waiting(self) -> int:
        """Texts that wait for one."""
        with self._changed:
            return sum(job.size - job.begun for job in self._waiting)

    def submit(self, job: Job) -> None:
        """Take a job in. Raises ApiError 429 where too many wait already, and 503 at the end."""
        with self._changed:
            if not self.alive:
                raise stopping()
            load = sum(one.open for one in self._jobs)
            if load + job.size > self.room + self.limits.queue:
                raise ApiError(
                    429,
                    f"{load} texts are being generated or wait, and {job.size} more would be beyond "
                    f"{self.room + self.limits.queue}: try again later",
                    code="queue_full",
                    retry=1,
                )
            self._jobs.add(job)
            self._waiting.append(job)
            self._changed.notify_all()

    def cancel(self, job: Job) -> None:
        """Its reader went away, or has all: its places are free after the step that is under way."""
        with self._changed:
            job.left = True
            self._jobs.discard(job)
            if job in self._waiting:
                self._waiting.remove(job)
            self._changed.notify_all()

    def close(self, grace_seconds: float = 0.0) -> None:
        """Take nothing in any more, let what is there finish for so long, then end the rest with an error; waits."""
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: not self._jobs, grace_seconds)
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        try:
            while self._wait():
                self._leave_who_left()
                self._admit()
                if self._texts:
                    try:
                        self._step()
                    except Exception as error:  # whatever a model, its device or its memory may raise
                        self._fail(error)
        finally:  # whatever ended it: nobody waits for ever
            with self._changed:
                self._closing = True
                left = list(self._jobs)
            for job in left:
                self._end(job, stopping())

    def _wait(self) -> bool:
        """Until there is something to do; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._waiting or self._texts)
            return not self._stopped

    def _leave_who_left(self) -> None:
        for row, text in list(self._texts.items()):
            if text.job.left:
                self._batch.leave(row)
                del self._texts[row]

    def _admit(self) -> None:
        """Give free places to those who wait, and read prompts for them, as far as one step allows."""
        budget = max(READ_AT_ONCE, self.config.block_size)
        while budget > 0:
            with self._changed:
                if not self._waiting:
                    return
                job = self._waiting[0]
                if not job.to_score and job.tokens and len(self._texts) == self.room:
                    return
                self._waiting.popleft()
            try:
                budget -= self._begin(job)
            except Exception as error:  # only this job's prompt was read
                self._log(error)
                self._end(job, error)
                continue
            with self._changed:
                if job.begun < job.size and not job.left:
                    self._waiting.append(job)

    def _begin(self, job: Job) -> int:
        """One thing that a job waits for: a window of its prompt scored, or a text's place. Returns tokens to read."""
        if job.to_score:
            return self._score(job)
        if not job.tokens:
            job.begun = job.size
            self._deliver({job: [News(index, "", finish="length") for index in range(job.size)]})
            return 1
        text = next(job.unread)
        row = self._batch.join(text.prompt.start, job.config, text.number)
        self._texts[row] = text
        job.begun += 1
        self.prompt_tokens += len(text.prompt.ids)
        return row.width

    def _score(self, job: Job) -> int:
        """One window of the first prompt that is not scored yet; without its end, the next one's turn comes."""
        place, count = job.to_score[0], job.logprobs or 0
        if job.scoring is None:
            job.scoring = score_prompt(
                self.model, job.prompts[place].ids.to(self.model.token_embedding.weight.device), count
            )
        scores = next(job.scoring, None)
        if scores is None:
            job.scoring = None
            job.to_score.pop(0)
            return 1
        job.prompt_scores[place].extend(scores)
        return self.config.block_size

    def _step(self) -> None:
        """A token for each text, told to those who wait for it."""
        began = time.perf_counter()
        tokens, rows = self._batch.step(), list(self._batch.rows)
        self.steps, self.tokens = self.steps + 1, self.tokens + len(tokens)
        texts = [self._texts[row] for row in rows]
        scores = self._scores(texts, tokens)
        news: dict[Job, list[News]] = {}
        for place, (row, text, token) in enumerate(zip(rows, texts, tokens)):
            one = text.feed(token, scores.get(place))
            news.setdefault(text.job, []).append(one)
            if one.finish is not None:
                self._batch.leave(row)
                del self._texts[row]
        self.step_seconds += time.perf_counter() - began
        self._deliver(news)

    def _scores(self, texts: list[Text], tokens: list[int]) -> dict[int, Score]:
        """By place, the scores of the tokens whose jobs ask for them."""
        counts = {place: text.job.logprobs for place, text in enumerate(texts) if text.job.logprobs is not None}
        if not counts:
            return {}
        places, most = list(counts), max(counts.values())
        found = score_tokens(self._batch.logits[places], [tokens[place] for place in places], most)
        return {place: Score(one.value, one.top[: counts[place]]) for place, one in zip(places, found)}

    def _deliver(self, news: Mapping[Job, list[News]], error: Exception | None = None) -> None:
        """Hand news over to the event loops of those who read it, in one call for each loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, list[News]]]] = {}
        with self._changed:
            for job, each in news.items():
                job.open -= sum(one.finish is not None for one in each)
                if not job.open or error:
                    self._jobs.discard(job)
                by_loop.setdefault(job.loop, []).append((job, each))
            self._changed.notify_all()
        for loop, some in by_loop.items():
            try:
                loop.call_soon_threadsafe(_hand_over, some, error)
            except RuntimeError:  # the loop was closed, and with it all who read
                for job, _ in some:
                    self.cancel(job)

    def _fail(self, error: Exception) -> None:
        """A step failed: end what was in the batch, and go on with an empty one."""
        self._log(error)
        jobs = {text.job for text in self._texts.values()}
        self._texts.clear()
        self._batch.rows.clear()  # with the memory that it has: there may be none for another
        for job in jobs:
            self._end(job, error)

    def _end(self, job: Job, error: Exception) -> None:
        with self._changed:
            job.left = True
            if job in self._waiting:
                self._waiting.remove(job)
        self._deliver({job: []}, error)

    def _log(self, error: Exception) -> None:
        if not isinstance(error, UserError | ApiError):
            LOG.error("a step failed", exc_info=error)


def stopping() -> ApiError:
    """What those are told who ask, or still wait, at the end."""
    return ApiError(503, "the server is stopping: try again when it is back", code="stopping")


def _hand_over(some: list[tuple[Job, list[News]]], error: Exception | None) -> None:
    for job, news in some:
        job.take(news, error)
