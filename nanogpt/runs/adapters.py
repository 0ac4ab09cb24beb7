"""Opening a run that was trained by adapters (`model.lora`): its checkpoints hold the adapters alone."""

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.model.lora import check_adapters, merge
from nanogpt.runs.weights import load_model, read_layout


def load_adapted(config: ModelConfig, path: Path, block: type[nn.Module], start: Path | None) -> GPT:
    """Return a model with the weights in `start`, to which the adapters in `path` are added."""
    if start is None:
        raise UserError(f"{path} holds adapters only, and the run has no start.safetensors: restore it from a copy")
    model = load_model(config, start, block)
    check_adapters(*({name: shape for name, (shape, _) in read_layout(file).items()} for file in (path, start)))
    merge(dict(model.named_parameters()), load_file(path))
    return model
