"""Weights and optimizer state to and from safetensors files, which hold numbers and no code.

A file is not trusted: names, shapes and number formats in its header are compared with what the config asks for before
memory is taken for either.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Block
from nanogpt.parallel.world import full_tensor, is_sharded, shard_like

HEADER_LIMIT = 10_000_000
"""Bytes of the largest header that is read; GPT-2 XL's has 50 kB."""
BUFFER_LIMIT = 1 << 30
"""Bytes of the largest tables of positions that a model from a file may ask for."""
ADAPTER = ".lora_"
"""Part of the name of every adapter weight (`model.lora`)"""

Layout = dict[str, tuple[tuple[int, ...], str]]
"""Name to shape and number format, as in a safetensors header"""


def model_tensors(model: GPT, keep: bool = True) -> dict[str, Tensor]:
    """Return the weights that `model.safetensors` holds, by name; of a model with adapters, the adapters alone.

    All processes gather sharded weights together; a process that won't write them passes `keep=False`.
    """
    return _gather({name: p.detach() for name, p in _saved_parameters(model).items()}, keep)


def _saved_parameters(model: GPT) -> dict[str, nn.Parameter]:
    own = dict(model.named_parameters())
    return {name: p for name, p in own.items() if ADAPTER in name} or own


def load_model(config: ModelConfig, path: Path, block: type[nn.Module] = Block, start: Path | None = None) -> GPT:
    """Return a model with the weights of a file; adapters in it are added to the weights in `start`.

    Raises:
        UserError: Files and config do not belong together.
    """
    adapters = path if any(ADAPTER in name for name in read_layout(path)) else None
    if adapters is not None:
        if start is None:
            raise UserError(f"{path} holds adapters only, and the run has no start.safetensors: restore it from a copy")
        path = start
    _check_size(config, path, block)
    model = GPT(config, block=block)
    load_model_tensors(model, path)
    if adapters is not None:
        from nanogpt.model.lora import check_adapters, merge

        check_adapters(*({name: shape for name, (shape, _) in read_layout(one).items()} for one in (adapters, path)))
        merge(dict(model.named_parameters()), load_file(adapters))
    return model


def _check_size(config: ModelConfig, path: Path, block: type[nn.Module]) -> None:
    """Raise UserError where a model of this config would not match the file, before it is allocated."""
    layout = float32_layout(path)
    if block is Block:
        C, last = config.n_embd, f"blocks.{config.n_layer - 1}"
        rows = (config.n_head + 2 * config.kv_heads) * config.head_channels
        expected = {"token_embedding.weight": (config.vocab_size, C), f"{last}.attention.qkv.weight": (rows, C)}
        expected |= {f"{last}.mlp.down.weight": (C, config.hidden)}
        if config.position == "learned":
            expected["position_embedding.weight"] = (config.block_size, C)
        _compare(path, {name: layout[name] for name in expected if name in layout}, _float32(expected))
    else:
        from nanogpt.runs.custom_blocks import empty_model

        _compare(path, layout, _layout(dict(empty_model(config, block, path).named_parameters())))
    if 4 * config.block_size * (config.head_channels if config.position == "rope" else config.n_embd) > BUFFER_LIMIT:
        raise UserError(
            f"the model next to {path} asks for tables of {config.block_size:,} positions: restore the config that the "
            f"run was trained with"
        )


def load_model_tensors(model: GPT, path: Path) -> None:
    """Copy a file's weights into a model; into a model with adapters, the adapters alone."""
    own = _saved_parameters(model)
    _compare(path, float32_layout(path), _layout(own))
    tensors = load_file(path)
    if any(tensor.dtype == torch.int8 for tensor in tensors.values()):
        from nanogpt.runs.eight_bits import widen

        tensors = widen(tensors)
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(shard_like(tensor, own[name]))


def optimizer_tensors(model: GPT, optimizers: Sequence[torch.optim.Optimizer], keep: bool = True) -> dict[str, Tensor]:
    """Return the optimizers' state by parameter name and key, such as `blocks.0.mlp.up.weight:momentum`."""
    states = {p: state for optimizer in optimizers for p, state in optimizer.state.items()}
    return _gather(
        {
            f"{name}:{key}": value.detach()
            for name, p in model.named_parameters()
            for key, value in states.get(p, {}).items()
        },
        keep,
    )


def load_optimizer_tensors(model: GPT, optimizers: Sequence[torch.optim.Optimizer], path: Path) -> None:
    """Restore what `optimizer_tensors` returned."""
    layout, own = read_layout(path), dict(model.named_parameters())
    owners = {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    expected: Layout = {}
    # A parameter that no gradient has reached (in a block of your own) has no state.
    for name in {full_name.split(":")[0] for full_name in layout} & own.keys():
        keys = [full_name.split(":")[1] for full_name in layout if full_name.startswith(f"{name}:")]
        known = getattr(owners[own[name]], "state_names", None)
        for key in known or keys:  # an optimizer of your own may also keep a number for each parameter
            scalar = key == "step" or (known is None and layout[f"{name}:{key}"][0] == ())
            expected[f"{name}:{key}"] = (() if scalar else tuple(own[name].shape), "F32")
    _compare(path, layout, expected)
    for full_name, tensor in load_file(path).items():
        name, key = full_name.split(":")
        p, owner = own[name], owners[own[name]]
        if key == "step":  # fused kernels read it on the device
            value = tensor.to(p.device if getattr(owner, "fused", False) else "cpu", copy=True)
        else:
            value = shard_like(tensor, p).clone()
        owner.state[p][key] = value


def read_layout(path: Path) -> Layout:
    """Return what a safetensors file holds, from its header.

    Raises:
        UserError: The file is missing or damaged.
    """
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


def float32_layout(path: Path) -> Layout:
    """Return the layout of a file as it is loaded: matrices stored in 8 bits become float32."""
    layout = read_layout(path)
    if any(kind == "I8" for _, kind in layout.values()):
        from nanogpt.runs.eight_bits import wide_layout

        return wide_layout(layout)
    return layout


def _gather(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Return full tensors on the CPU; nothing without `keep`, but the process still takes part in the gathering."""
    result = {}
    for name, tensor in tensors.items():
        if keep or is_sharded(tensor):
            full = full_tensor(tensor)
            if keep:
                result[name] = full.cpu().contiguous()
    return result


def _layout(tensors: Mapping[str, Tensor]) -> Layout:
    return _float32({name: tuple(tensor.shape) for name, tensor in tensors.items()})


def _float32(shapes: Mapping[str, tuple[int, ...]]) -> Layout:
    return {name: (shape, "F32") for name, shape in shapes.items()}


def _compare(path: Path, found: Layout, expected: Layout) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            entries = (found.get(name), expected.get(name))
            in_file, by_config = (f"{list(entry[0])} {entry[1]}" if entry else "missing" for entry in entries)
            raise UserError(
                f"{path} does not match config.toml: {name} is {in_file} in the file and {by_config} in the config; "
                f"restore the config that the run was trained with"
            )
