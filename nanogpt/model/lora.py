"""Fine-tuning by low-rank adapters (Hu et al. 2021, "LoRA"): two small matrices are trained for each large one.

A matrix W (N, K) becomes W + s B A, where W stays fixed, A (r, K) starts at random and B (N, r) at zero; r is the rank,
and s = 2. In training the library `peft` adds them. A checkpoint holds only A and B, named `….lora_A.default.weight`
and `….lora_B.default.weight`; W is in the run's `start.safetensors`. Opening a run merges them, so that sampling,
evaluation and export see a plain GPT.
"""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from nanogpt.errors import UserError

ADAPTED = ("qkv", "proj", "up", "down")
"""Names of the adapted matrices: all inside the blocks. Adapters in attention alone give a higher loss (Schulman et al.
2025, "LoRA without regret")."""
SCALE = 2
"""s above, peft's lora_alpha / r"""
A, B = ".lora_A.default.weight", ".lora_B.default.weight"

Shapes = Mapping[str, tuple[int, ...]]


def check_lora(weights: Iterable[str]) -> None:
    """Raise UserError where peft is not installed, or no weight of a model, by name, takes an adapter."""
    if find_spec("peft") is None:
        raise UserError("--lora needs the package peft: pip install 'nanogpt[lora]'")
    if not any(name.split(".")[-2] in ADAPTED for name in weights if name.endswith(".weight")):
        raise UserError(f"--lora: these blocks have none of the matrices {', '.join(ADAPTED)}: leave out --lora")


def add_lora(model: nn.Module, rank: int, seed: int) -> None:
    """Add adapters to a model's blocks, drawn from the seed, and freeze all other weights; call `check_lora` first."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=list(ADAPTED))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def check_adapters(adapters: Shapes, plain: Shapes) -> None:
    """Raise UserError where the shapes of adapters don't match the matrices of a plain model.

    >>> check_adapters({"up" + A: (2, 3), "up" + B: (5, 2)}, {"up.weight": (5, 3)})
    """
    for name in adapters:
        matrix = name.removesuffix(A).removesuffix(B)
        base, a, b = plain.get(f"{matrix}.weight", ()), adapters.get(matrix + A, ()), adapters.get(matrix + B, ())
        if not (len(base) == len(a) == len(b) == 2 and (b[0], a[1]) == base and a[0] == b[1]):
            raise UserError(f"the adapters of {matrix} don't match the model: restore the file from a copy")


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
