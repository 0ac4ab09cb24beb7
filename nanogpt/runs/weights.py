"""Weights and optimizer state to and from safetensors files, which hold numbers and no code.

A file is not trusted: its header is compared with what the config asks for before memory is taken for either.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Block
from nanogpt.parallel.world import full_tensor, shard_like

HEADER_LIMIT = 10_000_000
"""Bytes of the largest header that is read; GPT-2 XL's has 50 kB."""
BUFFER_LIMIT = 1 << 30
"""Bytes of the largest tables of positions that a model from a file may ask for."""
ADAPTER = ".lora_"
"""Part of the name of every adapter weight (`model.lora`)"""

Layout = dict[str, tuple[tuple[int, ...], str]]
"""Name to shape and number format, as in a safetensors header"""


def model_tensors(model: GPT, keep: bool = True) -> dict[str, Tensor]:
    """Return the weights that `model.safetensors` holds, by name; of a model with adapters, the adapters alone."""
    return _gather({name: p.detach() for name, p in _saved_parameters(model).items()}, keep)


def _saved_parameters(model: GPT) -> dict[str, nn.Parameter]:
    own = dict(model.named_parameters())
    return {name: p for name, p in own.items() if ADAPTER in name} or own


def load_model(config: ModelConfig, path: Path, block: type[nn.Module] = Block, start: Path | None = None) -> GPT:
    """Return a model with a file's weights, or with those in `start` and the file's adapters, checked."""
    if any(ADAPTER in name for name in read_layout(path)):
        from nanogpt.runs.adapters import load_adapted

        return load_adapted(config, path, block, start)
    _check_size(config, path, block)
    model = GPT(config, block=block)
    load_model_tensors(model, path)
    return model


def _check_size(config: ModelConfig, path: Path, block: type[nn.Module]) -> None:
    """Raise UserError where a model of this config would not match the file, before it is allocated."""
    if block is Block:
        C, last, layout = config.n_embd, f"blocks.{config.n_layer - 1}", read_layout(path)
        rows = (config.n_head + 2 * config.kv_heads) * config.head_channels
        shapes = {"token_embedding.weight": (config.vocab_size, C), f"{last}.attention.qkv.weight": (rows, C)}
        shapes |= {f"{last}.mlp.down.weight": (C, config.hidden)}
        if config.position == "learned":
            shapes["position_embedding.weight"] = (config.block_size, C)
        found = {name: layout[name] for name in shapes if name in layout}
        _compare(path, found, {name: (shape, found.get(name, ((), "F32"))[1]) for name, shape in shapes.items()})
    else:
        from nanogpt.runs.custom_blocks import check_size

        check_size(config, path, block)
    row = 2 * config.head_channels if config.position == "rope" else config.n_embd
    if 4 * config.block_size * row > BUFFER_LIMIT:
        raise UserError(
            f"the model next to {path} asks for tables of {config.block_size:,} positions: restore the config that the "
            f"run was trained with"
        )


def load_model_tensors(model: GPT, path: Path) -> None:
    """Copy a file's weights into a model; into a model with adapters, the adapters alone."""
    own, layout = _saved_parameters(model), read_layout(path)
    load: Callable[[Path], dict[str, Tensor]] = load_file
    if any(kind == "I8" for _, kind in layout.values()):
        from nanogpt.runs.eight_bits import load_wide, wide_layout

        layout, load = wide_layout(layout), load_wide
    _compare(path, layout, {name: (tuple(p.shape), "F32") for name, p in own.items()})
    with torch.no_grad():
        for name, tensor in load(path).items():
            own[name].copy_(shard_like(tensor, own[name]))


def optimizer_tensors(model: GPT, optimizers: Sequence[torch.optim.Optimizer], keep: bool = True) -> dict[str, Tensor]:
    """Return the optimizers' state by parameter name and key, such as `blocks.0.mlp.up.weight:momentum`."""
    states = {p: state for optimizer in optimizers for p, state in optimizer.state.items()}
    named = ((name, states.get(p, {})) for name, p in model.named_parameters())
    return _gather({f"{name}:{key}": value.detach() for name, state in named for key, value in state.items()}, keep)


def _gather(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Return full tensors on the CPU. All processes gather shards together; one that won't write has `keep=False`."""
    full = ((name, full_tensor(tensor)) for name, tensor in tensors.items())
    return {name: tensor.cpu().contiguous() for name, tensor in full if keep}


def load_optimizer_tensors(model: GPT, optimizers: Sequence[torch.optim.Optimizer], path: Path) -> None:
    """Restore what `optimizer_tensors` returned."""
    layout, own = read_layout(path), dict(model.named_parameters())
    owners = {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    expected: Layout = {}
    # A parameter that no gradient has reached (in a block of your own) has no state.
    for full_name, (shape, _) in layout.items():
        name, _, key = full_name.partition(":")
        if name in own and own[name] in owners:
            known = getattr(owners[own[name]], "state_names", None)
            for one in known or [key]:  # an optimizer of your own may also keep a number for each parameter
                scalar = one == "step" or (known is None and shape == ())
                expected[f"{name}:{one}"] = (() if scalar else tuple(own[name].shape), "F32")
    _compare(path, layout, expected)
    for full_name, tensor in load_file(path).items():
        name, _, key = full_name.partition(":")
        p, owner = own[name], owners[own[name]]
        if key == "step":  # fused kernels read it on the device
            value = tensor.to(p.device if getattr(owner, "fused", False) else "cpu", copy=True)
        else:
            value = shard_like(tensor, p).clone()
        owner.state[p][key] = value


def read_layout(path: Path) -> Layout:
    """Return what a safetensors file holds, from its header; raise UserError where it is missing or damaged."""
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


def _compare(path: Path, found: Layout, expected: Layout) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            entries = (found.get(name), expected.get(name))
            in_file, by_config = (f"{list(entry[0])} {entry[1]}" if entry else "missing" for entry in entries)
            raise UserError(
                f"{path} does not match config.toml: {name} is {in_file} in the file and {by_config} in the config; "
                f"restore the config that the run was trained with"
            )
