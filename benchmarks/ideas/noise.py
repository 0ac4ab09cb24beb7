"""Noise in what is read: some of the tokens are replaced by others, drawn from the text.

What is predicted stays as it is. It is smoothing by counts carried over to networks, against learning a short text by
heart (Xie et al. 2017, "Data noising as smoothing in neural network language models", unigram noising). The model is
the base's own kind.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.ideas.idea import Forward, Idea, Loss, wrap_loss
from nanogpt.random_streams import stream
from nanogpt.training.trainer import Trainer


def replace_tokens(trainer: Trainer, share: float) -> None:
    """Replace this share of the tokens that are read, other ones at each step."""
    stepper, text = trainer.stepper, trainer.data.train

    def loss(before: Loss, forward: Forward, step: int, samples: Sequence[int]) -> Tensor:
        def noisy(ids: Tensor) -> Tensor:
            generator = torch.Generator().manual_seed(stream(stepper.config.seed, "noise", step, samples[0]))
            places = torch.randint(len(text), ids.shape, generator=generator)
            others = torch.from_numpy(text[places.numpy().ravel()].astype("int64")).view(ids.shape).to(ids.device)
            replaced = (torch.rand(ids.shape, generator=generator) < share).to(ids.device)
            return forward(torch.where(replaced, others, ids))

        return before(noisy, step, samples)

    wrap_loss(stepper, loss)


IDEAS = (
    Idea(name="5 % noise in what is read", in_qwen3=True, change=partial(replace_tokens, share=0.05)),
    Idea(name="10 % noise in what is read", in_qwen3=True, change=partial(replace_tokens, share=0.1)),
)
