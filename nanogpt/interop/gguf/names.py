"""What llama.cpp calls each weight, and which models it computes as ours.

Modern models are its `qwen3`, GPT-2's its `gpt2`. The official package `gguf` knows its names of weights by those that
Transformers has. GPT-2's matrices lie here as torch has them, not transposed.
"""

from types import ModuleType

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.interop.families import family_of
from nanogpt.interop.family import Family, check_expressible
from nanogpt.interop.places import Place, Table

MOST_LAYERS = 512
"""LLAMA_MAX_LAYERS: beyond it llama.cpp ends the process."""


def library() -> ModuleType:
    """The package `gguf`. Raises UserError where it is not installed."""
    try:
        import gguf
    except ImportError:
        raise UserError("a GGUF file needs the package gguf: pip install 'nanogpt[gguf]'") from None
    return gguf


def family_for_llama(model: ModelConfig) -> Family:
    """The family as which llama.cpp computes a model. Raises UserError, naming the parts that it does otherwise."""
    family = family_of(model)
    check_expressible("llama.cpp", unlike(model))
    return family


def unlike(model: ModelConfig) -> dict[str, str]:
    """Each part that llama.cpp does otherwise than the family, with the reason."""
    gated = model.activation in ("gelu_tanh", "swiglu")
    reasons = {
        "activation": (not gated, f"its GPT-2 has gelu_tanh alone, and this model has {model.activation}"),
        "n_layer": (model.n_layer > MOST_LAYERS, f"it has {MOST_LAYERS} layers at most"),
    }
    return {part: reason for part, (holds, reason) in reasons.items() if holds}


def places(model: ModelConfig, family: Family) -> Table:
    """Where the file keeps each weight, shapes as torch has them."""
    gguf = library()
    known = gguf.get_tensor_name_map(architecture(family), model.n_layer)

    def renamed(place: Place) -> Place:
        name = known.get_name(place.name, try_suffixes=(".weight", ".bias"))
        assert name is not None, place.name
        return Place(name, place.shape[::-1] if place.transposed else place.shape)

    return {ours: tuple(map(renamed, theirs)) for ours, theirs in family.places(model).items()}


def architecture(family: Family) -> int:
    """The package's number of a family's architecture."""
    names: dict[int, str] = library().MODEL_ARCH_NAMES
    return next(number for number, name in names.items() if name == family.MODEL_TYPE)
