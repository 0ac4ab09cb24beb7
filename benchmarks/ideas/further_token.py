"""Multi-token prediction: a second output layer for the token after the next, of less and less weight.

It asks the model to look further than the next token (Gloeckle et al. 2024, "Better & faster large language models via
multi-token prediction", with a layer of its own for each head, here an output layer alone). It is thrown away after the
run, so the model is the base's own kind.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from benchmarks.ideas.idea import Forward, Idea, Loss, learn_like, progress, wrap_loss
from nanogpt.parallel.devices import autocast
from nanogpt.training.step import mean_loss
from nanogpt.training.trainer import Trainer


def predict_further(trainer: Trainer, weight: float = 0.3) -> None:
    """Charge for the token after the next too, `weight` times at first, falling in a line to nothing."""
    model, stepper = trainer.model, trainer.stepper
    head = nn.Linear(model.config.n_embd, model.config.vocab_size, bias=False, device=stepper.device)
    nn.init.zeros_(head.weight)
    model.further_head = head
    learn_like(stepper, model.lm_head.weight, [head.weight])
    states: list[Tensor] = []

    def keep(module: nn.Module, words: tuple[Tensor, ...], x: Tensor) -> None:
        states[:] = [x] if x.requires_grad else []

    model.final_norm.register_forward_hook(keep)

    def loss(before: Loss, forward: Forward, step: int, samples: Sequence[int]) -> Tensor:
        read: list[Tensor] = []

        def kept(ids: Tensor) -> Tensor:
            read[:] = [ids]
            return forward(ids)

        found = before(kept, step, samples)
        share = weight * (1 - progress(trainer, step))
        if share <= 0:
            return found
        with autocast(stepper.device, stepper.precision):
            logits = head(states[0][:, :-2])  # (B, T - 2, V): the last two have no such token in their window
            return found + share * mean_loss(logits, read[0][:, 2:])

    wrap_loss(stepper, loss)


IDEAS = (Idea(name="multi-token prediction", in_qwen3=True, change=predict_further),)
