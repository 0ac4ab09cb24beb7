"""Weights and optimizer state to and from safetensors, which holds numbers and no code.

A file is not trusted: its header is read first, and names, shapes and number formats are compared with what the config
asks for before memory is taken for either.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from nanogpt.optim.adamw import AdamW
from nanogpt.config import ModelConfig
from nanogpt.runs.eight_bits import wide_layout, widen
from nanogpt.errors import UserError
from nanogpt.model.lora import check_adapters, has_lora, is_adapter, merge
from nanogpt.model.gpt import GPT, Block
from nanogpt.optim.optimizer import Optimizer
from nanogpt.parallel.sharding import is_divided, share_of, whole
from nanogpt.model.parameters import count_parameters, table_bytes

HEADER_LIMIT = 10_000_000
"""Bytes of the largest header that is read; that of GPT-2 XL has 50 kB."""
BUFFER_LIMIT = 1 << 30
"""Bytes of the largest tables, such as the angles of positions, that a model from a file may ask for."""

Layout = dict[str, tuple[tuple[int, ...], str]]
"""Name to shape and number format, as a safetensors header gives it."""


def model_tensors(model: GPT, keep: bool = True) -> dict[str, Tensor]:
    """Name to weight, a shared one once: what model.safetensors holds. Of a model with adapters these alone.

    Weights divided among processes are gathered one by one, by all of them together; those that will not write them
    do without `keep`, and get nothing.
    """
    return _gathered({name: p.detach() for name, p in _kept(model).items()}, keep)


def _kept(model: GPT) -> dict[str, nn.Parameter]:
    """The weights that a file holds. What adapters leave as it is stands in the file that the training began with."""
    own = dict(model.named_parameters())
    return {name: p for name, p in own.items() if is_adapter(name)} if has_lora(own) else own


def check_savable(model: nn.Module) -> None:
    """Raise UserError where a block of one's own has a state that no checkpoint would hold: a persistent buffer.

    It would change in training, and start anew at each resuming and loading, without a word.
    """
    kept = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name in model.state_dict():
        if name not in kept:
            raise UserError(
                f"the buffer {name} would not be saved, as checkpoints hold parameters alone: make it an nn.Parameter "
                f"with requires_grad=False, or register it with persistent=False where it need not be kept"
            )


def load_model(config: ModelConfig, path: Path, block: type[nn.Module] = Block, start: Path | None = None) -> GPT:
    """A model with the weights of a file; where that has adapters alone, with those of `start` and them added.

    Raises UserError where files and config do not belong together.
    """
    adapted = has_lora(read_layout(path))
    if adapted and start is None:
        raise UserError(f"{path} has adapters alone, and the run no weights that they are of: restore it from a copy")
    whole = start if adapted and start is not None else path
    layout = wide_layout(read_layout(whole))
    numbers = sum(math.prod(shape) for shape, _ in layout.values())
    as_expected = block is Block and count_parameters(config).total == numbers
    tables = table_bytes(config) if as_expected else _compare_shapes(config, whole, block)
    if tables > BUFFER_LIMIT:
        raise UserError(
            f"the model beside {path} asks for tables of {tables:,} bytes (block_size {config.block_size:,}): "
            f"restore the config that the run was trained with"
        )
    if adapted:
        check_adapters(*({name: shape for name, (shape, _) in one.items()} for one in (read_layout(path), layout)))
    model = GPT(config, block=block)
    load_model_tensors(model, whole)
    if adapted:
        merge(dict(model.named_parameters()), load_file(path))
    return model


def _compare_shapes(config: ModelConfig, path: Path, block: type[nn.Module]) -> int:
    """Raise UserError where a file does not fit a config; of what fits return the bytes of its tables.

    By a model without memory. For that torch imports its compiler, which takes longer than to load most models.
    """
    try:
        with torch.device("meta"):
            shapes = GPT(config, block=block)
    except (RuntimeError, OverflowError) as error:
        raise UserError(f"the config beside {path} asks for sizes that no machine has ({error}): restore it") from None
    _compare(path, wide_layout(read_layout(path)), _layout(dict(shapes.named_parameters())))
    return sum(buffer.numel() * buffer.element_size() for buffer in shapes.buffers())


def load_model_tensors(model: GPT, path: Path) -> None:
    """Put a file's weights into a model; into one with adapters, theirs alone. Those in 8 bits become float32."""
    own = _kept(model)
    _compare(path, wide_layout(read_layout(path)), _layout(own))
    with torch.no_grad():
        for name, tensor in widen(load_file(path)).items():
            own[name].copy_(share_of(tensor, own[name]))


def crop_context(
    model: ModelConfig, tensors: dict[str, Tensor], block_size: int
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A model with a shorter context, and its weights: learned positions lose their last rows."""
    name = "position_embedding.weight"
    if name in tensors:
        tensors = tensors | {name: tensors[name][:block_size].clone()}
    return replace(model, block_size=block_size), tensors


def optimizer_tensors(model: GPT, optimizer: Optimizer, keep: bool = True) -> dict[str, Tensor]:
    """The optimizer's state by the names of parameters, `blocks.0.mlp.up.weight:momentum`; `keep` as above."""
    states = {p: values for part in optimizer.parts for p, values in part.state.items()}
    state = {
        f"{name}:{key}": value.detach()
        for name, p in model.named_parameters()
        for key, value in states.get(p, {}).items()
    }
    return _gathered(state, keep)


def load_optimizer_tensors(model: GPT, optimizer: Optimizer, path: Path) -> None:
    """Put back what `optimizer_tensors` gave."""
    own = dict(model.named_parameters())
    # A parameter that no loss has reached yet (in a block of one's own) has no state.
    owners = {
        name: optimizer.owner(own[name]) for name in own.keys() & {key.split(":")[0] for key in read_layout(path)}
    }
    expected = {
        f"{name}:{key}": torch.zeros(()) if key == "step" else own[name]
        for name, owner in owners.items()
        for key in owner.state_names
    }
    _compare(path, read_layout(path), _layout(expected))
    for full_name, tensor in load_file(path).items():
        name, key = full_name.split(":")
        owner = owners[name]
        if isinstance(owner, AdamW) and key == "step":  # its fused kernel reads the count on the device
            value = tensor.to(own[name].device if owner.fused else "cpu", copy=True)
        else:
            value = share_of(tensor, own[name]).clone()
        owner.state.setdefault(own[name], {})[key] = value


def read_layout(path: Path) -> Layout:
    """What a safetensors file holds, from its header. Raises UserError where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:
            raise UserError(f"{path} is damaged (a header of {length:,} bytes): restore it from a copy of the run")
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except FileNotFoundError:
        raise UserError(f"{path} is missing: restore it from a copy of the run") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it from a copy of the run") from None


def _gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    result = {}
    for name, tensor in tensors.items():
        if keep or is_divided(tensor):
            gathered = whole(tensor)
            if keep:
                result[name] = gathered.cpu().contiguous()
    return result


def _layout(tensors: Mapping[str, Tensor]) -> Layout:
    return {name: (tuple(tensor.shape), "F32") for name, tensor in tensors.items()}


def _compare(path: Path, found: Layout, expected: Layout) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"{path} does not match config.toml: {name} is {_described(found.get(name))} in the file and "
                f"{_described(expected.get(name))} by the config; restore the config that the run was trained with"
            )


def _described(entry: tuple[tuple[int, ...], str] | None) -> str:
    if entry is None:
        return "missing"
    shape, kind = entry
    return f"{list(shape)}" if kind == "F32" else f"{list(shape)} of {kind}"
