r"""Fine-tuning by low-rank adapters (Hu et al. 2021, "LoRA"): the trained weights stay, few numbers are learned beside.

A matrix W (N, K) becomes W + s B A, with A (r, K) drawn, B (N, r) zero at first, r the rank and s = 2. In training the
library `peft` does it; here is which matrices get an adapter, and the sum that is left of them when a run is opened:
whoever writes with it, measures or exports it sees a plain GPT.

In a checkpoint W is `….base_layer.weight`, A and B are `….lora_A.default.weight` and `….lora_B.default.weight`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nanogpt.errors import UserError

ADAPTED = ("qkv", "proj", "up", "down")
"""All matrices inside the blocks: with those of attention alone the loss is higher (Schulman et al. 2025, "LoRA without
regret")."""
SCALE = 2
"""s above, peft's lora_alpha / r"""
BASE, A, B = ".base_layer.", ".lora_A.default.", ".lora_B.default."

Layout = Mapping[str, tuple[tuple[int, ...], str]]


def add_lora(model: nn.Module, rank: int, seed: int) -> None:
    """Give a model's blocks adapters, and let nothing else learn; what is drawn is a function of the seed.

    Raises UserError where peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError:
        raise UserError('--lora needs the package peft: pip install "nanogpt[lora]"') from None
    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=list(ADAPTED))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def has_lora(names: Mapping[str, object]) -> bool:
    """Whether names of weights are those of a model with adapters."""
    return any(BASE in name for name in names)


def merged_layout(layout: Layout) -> dict[str, tuple[tuple[int, ...], str]]:
    """The layout of the plain model that a file with adapters becomes. Raises UserError for adapters that do not fit.

    >>> merged_layout({"up.base_layer.weight": ((5, 3), "F32"), "up.lora_A.default.weight": ((2, 3), "F32"),
    ...     "up.lora_B.default.weight": ((5, 2), "F32")})
    {'up.weight': ((5, 3), 'F32')}
    """
    plain = {name.replace(BASE, "."): entry for name, entry in layout.items() if A not in name and B not in name}
    bases = [name for name in layout if name.endswith(f"{BASE}weight")]
    for name in bases:
        if not _fit(*(layout.get(name.replace(BASE, part), ((), ""))[0] for part in (BASE, A, B))):
            raise UserError(f"the adapters of {name} are missing or do not fit it: restore the file from a copy")
    if len(layout) - len(plain) != 2 * len(bases):
        raise UserError("there are adapters of no matrix: restore the file from a copy")
    return plain


def _fit(base: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return len(base) == len(a) == len(b) == 2 and (b[0], a[1]) == base and a[0] == b[1]


def merge(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the plain model: W + s B A where there are adapters, all others as they are.

    >>> ones = {"up.base_layer.weight": torch.ones(1, 2), "up.lora_A.default.weight": torch.ones(3, 2)}
    >>> merge(ones | {"up.lora_B.default.weight": torch.ones(1, 3)})
    {'up.weight': tensor([[7., 7.]])}
    """

    def whole(name: str, tensor: Tensor) -> Tensor:
        if not name.endswith(f"{BASE}weight"):
            return tensor
        return tensor + SCALE * tensors[name.replace(BASE, B)] @ tensors[name.replace(BASE, A)]

    plain = {name: tensor for name, tensor in tensors.items() if A not in name and B not in name}
    return {name.replace(BASE, "."): whole(name, tensor) for name, tensor in plain.items()}
