"""Short sequences first: the beginning of a run reads each window in quarters, then in halves, then whole.

What a model learns first needs little context, and attention over short sequences costs less (Li, Zhang and He 2022,
"The stability-efficiency dilemma: investigating sequence length warmup for training GPT models"). The tokens of a step
are the same: a piece begins without what was before it. The trained model is the base's own kind.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from benchmarks.ideas.idea import Forward, Idea, Loss, progress, wrap_loss
from nanogpt.errors import UserError
from nanogpt.model.dropout import seed_dropout
from nanogpt.training.trainer import Trainer

STAGES = ((0.2, 4), (0.4, 2))
"""Until this share of the run, windows are cut in so many pieces."""


def cut_windows(trainer: Trainer, stages: Sequence[tuple[float, int]] = STAGES) -> None:
    """Read windows in pieces, stage by stage. UserError where a window has no such parts."""
    size, stepper = trainer.model.config.block_size, trainer.stepper
    for _, pieces in stages:
        if size % pieces:
            raise UserError(f"block_size {size} cannot be cut in {pieces} equal pieces: choose a multiple of {pieces}")

    def loss(before: Loss, forward: Forward, step: int, samples: Sequence[int]) -> Tensor:
        pieces = next((pieces for end, pieces in stages if progress(trainer, step) < end), 1)

        def in_pieces(ids: Tensor) -> Tensor:
            # Each piece is a sample to dropout, whose keys are those of samples.
            keys = [sample * pieces + piece for sample in samples for piece in range(pieces)]
            seed_dropout(trainer.model, stepper.config.seed, step, keys)
            logits = forward(ids.reshape(-1, ids.size(1) // pieces))  # (B * pieces, T / pieces, V)
            return logits.view(*ids.shape, -1)  # (B, T, V)

        return before(forward if pieces == 1 else in_pieces, step, samples)

    wrap_loss(stepper, loss)


IDEAS = (
    Idea(name="sequence-length warm-up", in_qwen3=True, change=cut_windows),
    Idea(
        name="sequence-length warm-up, halves alone",
        in_qwen3=True,
        change=partial(cut_windows, stages=((0.3, 2),)),
    ),
)
