"""What a training of so many minutes would be, without training: `nanogpt.plan`."""

import os
import time
from collections.abc import Sequence
from typing import Any

import torch

from nanogpt.errors import UserError
from nanogpt.model.gpt import Block
from nanogpt.parallel.process import keep_freed_memory
from nanogpt.parallel.world import ALONE
from nanogpt.planning.planner import Proposal
from nanogpt.text.corpus import Sources
from nanogpt.training.pace import END_SECONDS
from nanogpt.training.request import Request, length_asked, prepare_request

MINUTES = (1.0, 5.0, 20.0, 60.0)


def plan(
    text: Sources = None,
    *,
    minutes: Sequence[float] = MINUTES,
    memory: float | None = None,
    preset: str | None = None,
    val: Sources = None,
    start_from: str | os.PathLike[str] | None = None,
    block: type[torch.nn.Module] = Block,
    progress: bool = True,
    started: float | None = None,
    **settings: Any,
) -> list[Proposal]:
    """What `nanogpt.train` would train in so many minutes, for each of `minutes`; nothing is trained or kept.

    The text is read, as by a training, and the machine measured for some seconds. The other arguments are those of
    `nanogpt.train`. `started` is when the time began, by `time.monotonic`. Raises UserError for whatever the caller can
    mend.

    >>> for one in nanogpt.plan("tale.txt", minutes=[0.1, 2], progress=False):
    ...     print(one.minutes, one.steps > 0, one.expected.low < one.expected.loss <= one.expected.high)
    0.1 True True
    2 True True
    """
    started = time.monotonic() if started is None else started
    keep_freed_memory()  # as `nanogpt.train` does, whose speed is measured
    if not minutes:
        raise UserError("no minutes were given: name some, for example 1 5 20 60")
    for one in minutes:
        length_asked(one, None)  # raises
    request = Request(
        text=text,
        minutes=minutes[0],
        memory=memory,
        preset=preset,
        val=val,
        start_from=start_from,
        block=block,
        settings=settings,
    )
    planner = prepare_request(request, not progress, ALONE).planner()
    before = time.monotonic() - started
    return [planner.propose(one, one * 60 - END_SECONDS - before) for one in minutes]
