"""Other feed-forward networks than SwiGLU: GELU, and ReLU squared, both of about as many parameters.

GELU: Hendrycks and Gimpel 2016. ReLU squared: So et al. 2021, "Primer", also in KellerJordan/modded-nanogpt. Qwen3's is
gated with SiLU (SwiGLU, Shazeer 2020), and nothing else.
"""

from torch import Tensor, nn

from benchmarks.ideas.idea import Idea
from nanogpt.model.gpt import FeedForward
from nanogpt.training.trainer import Trainer


def square(trainer: Trainer) -> None:
    """Square what goes into the feed-forward networks' second matrices."""
    for module in trainer.model.modules():
        if isinstance(module, FeedForward):
            module.down.register_forward_pre_hook(_squared)


def _squared(module: nn.Module, words: tuple[Tensor]) -> tuple[Tensor]:
    return (words[0].square(),)


IDEAS = (
    Idea(name="GELU for SwiGLU", in_qwen3=False, settings={"activation": "gelu"}),
    Idea(name="ReLU squared for SwiGLU", in_qwen3=False, settings={"activation": "relu"}, change=square),
)
