"""The families of models that ours can become, and which of them fits."""

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.interop import gpt2, qwen3
from nanogpt.interop.family import Family, check_expressible

FAMILIES: tuple[Family, ...] = (qwen3, gpt2)


def family_of(model: ModelConfig) -> Family:
    """The family that can express a model. Raises UserError, naming the parts that the nearest one has not.

    >>> from nanogpt.config import load_preset
    >>> family_of(load_preset("modern").model).NAME
    'Qwen3'
    """
    for family in FAMILIES:
        if not family.unlike(model):
            return family
    nearest = min(FAMILIES, key=lambda family: len(family.unlike(model)))
    check_expressible(nearest.NAME, nearest.unlike(model))
    raise AssertionError


def family_named(model_type: object) -> Family:
    """The family of a config.json's `model_type`; UserError for others."""
    for family in FAMILIES:
        if model_type == family.MODEL_TYPE:
            return family
    known = " and ".join(family.MODEL_TYPE for family in FAMILIES)
    raise UserError(f"config.json: model_type is {model_type!r}; models of the types {known} can be read")
