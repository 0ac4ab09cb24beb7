r"""Fine-tuning by low-rank adapters (Hu et al. 2021, "LoRA"): the trained weights stay, few numbers are learned beside.

A matrix W (N, K) becomes W + s B A, with A (r, K) drawn, B (N, r) zero at first, r the rank and s = 2. In training the
library `peft` does it. Files hold A and B alone, `….lora_A.default.weight` and `….lora_B.default.weight`: W is in the
file that the training began with. When a run is opened the sum is all that is left of them: whoever writes with it,
measures or exports it sees a plain GPT.
"""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from nanogpt.errors import UserError

ADAPTED = ("qkv", "proj", "up", "down")
"""All matrices inside the blocks: with those of attention alone the loss is higher (Schulman et al. 2025, "LoRA without
regret")."""
SCALE = 2
"""s above, peft's lora_alpha / r"""
A, B = ".lora_A.default.weight", ".lora_B.default.weight"

Shapes = Mapping[str, tuple[int, ...]]


def check_lora(matrices: Iterable[str]) -> None:
    """Raise UserError where peft is not installed, or none of a model's matrices, by their names, takes an adapter."""
    if find_spec("peft") is None:
        raise UserError("--lora needs the package peft: pip install 'nanogpt[lora]'")
    if not any(name.split(".")[-2] in ADAPTED for name in matrices if name.endswith(".weight")):
        raise UserError(f"--lora: these blocks have none of the matrices {', '.join(ADAPTED)}: leave it out")


def add_lora(model: nn.Module, rank: int, seed: int) -> None:
    """Give a model's blocks adapters, and let nothing else learn; what is drawn is a function of the seed.

    To be asked before: `check_lora`.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=list(ADAPTED))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def has_lora(names: Iterable[str]) -> bool:
    """Whether names of weights are those of a model with adapters."""
    return any(is_adapter(name) for name in names)


def is_adapter(name: str) -> bool:
    """Whether a weight is part of an adapter."""
    return name.endswith((A, B))


def check_adapters(adapters: Shapes, plain: Shapes) -> None:
    """Raise UserError where adapters do not fit the matrices of a plain model.

    >>> check_adapters({"up" + A: (2, 3), "up" + B: (5, 2)}, {"up.weight": (5, 3)})
    """
    for name in adapters:
        matrix = name.removesuffix(A).removesuffix(B)
        base, a, b = (
            shapes.get(matrix + end, ()) for shapes, end in ((plain, ".weight"), (adapters, A), (adapters, B))
        )
        if not (len(base) == len(a) == len(b) == 2 and (b[0], a[1]) == base and a[0] == b[1]):
            raise UserError(f"the adapters of {matrix} are incomplete or do not fit it: restore the file from a copy")


@torch.no_grad()
def merge(weights: Mapping[str, Tensor], adapters: Mapping[str, Tensor]) -> None:
    """Add adapters to the weights of a plain model, in place: W becomes W + s B A.

    >>> weights = {"up.weight": torch.ones(1, 2)}
    >>> merge(weights, {"up" + A: torch.ones(3, 2), "up" + B: torch.ones(1, 3)})
    >>> weights["up.weight"]
    tensor([[7., 7.]])
    """
    for name, a in adapters.items():
        if name.endswith(A):
            matrix = name.removesuffix(A)
            weights[f"{matrix}.weight"].add_(SCALE * adapters[matrix + B] @ a)
