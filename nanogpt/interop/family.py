"""What is asked of a family of models that ours can become."""

from collections.abc import Mapping
from typing import Any, Protocol

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.interop.places import Table


class Family(Protocol):
    """An architecture of Hugging Face Transformers."""

    @property
    def NAME(self) -> str:
        """As a person says it."""
        ...

    @property
    def MODEL_TYPE(self) -> str:
        """In its config.json."""
        ...

    @property
    def ARCHITECTURE(self) -> str:
        """Its class in Transformers."""
        ...

    @property
    def PRESET(self) -> str:
        """Ours that has its parts."""
        ...

    def unlike(self, model: ModelConfig) -> dict[str, str]:
        """Each of a model's parts that the family does not have, with the reason."""
        ...

    def settings(self, model: ModelConfig) -> dict[str, Any]:
        """Its config.json of such a model, without tokens."""
        ...

    def read_settings(self, tables: Mapping[str, Any]) -> ModelConfig:
        """The model that a config.json asks for. Raises UserError for parts that ours does not have."""
        ...

    def places(self, model: ModelConfig) -> Table:
        """Where its file keeps each weight."""
        ...


def check_expressible(name: str, reasons: Mapping[str, str]) -> None:
    """Raise UserError, naming each part and the reason, where a format does not have what a model is made of.

    >>> check_expressible("GPT-2", {"qk_norm": "it does not normalise queries and keys"})
    Traceback (most recent call last):
    nanogpt.errors.UserError: GPT-2 cannot express this model's qk_norm (it does not normalise queries and keys): ...
    """
    if reasons:
        told = "; ".join(f"{part} ({reason})" for part, reason in reasons.items())
        raise UserError(f"{name} cannot express this model's {told}: train with other parts to export it so")


def demand(tables: Mapping[str, Any], wanted: Mapping[str, tuple[Any, ...]], name: str) -> None:
    """Raise UserError where a config.json has another value than one of those that ours can express.

    >>> demand({"hidden_act": "silu"}, {"hidden_act": ("silu",)}, "Qwen3")
    """
    for key, values in wanted.items():
        if key in tables and tables[key] not in values:
            raise UserError(
                f"config.json: {key} is {tables[key]!r}, and of {name} models only those with "
                f"{' or '.join(map(repr, values))} can be read"
            )
