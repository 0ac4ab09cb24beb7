r"""The loss that a training will reach, before it begins: a law with a floor, fitted to recorded runs.

    L = h · (floor + size · N^-a + tokens · S^-b + updates · U^-u + context · T^-c
             + excess · (N / D)^d · log(1 + (R / 16D)²))
    h = trigram^w · bigram^(1-w)

N is the numbers in the blocks' matrices in millions, S the tokens learned from in millions, U the updates in hundreds,
T the block in units of 64, D the tokens of the text in millions, p the dropout. The first three terms are those of
Hoffmann et al. 2022 ("Training compute-optimal large language models", equation 2), in units of what counting pairs and
triples of tokens leaves unpredicted, so that one law serves every text; the fourth is what large batches do not help.
Tokens that were read before are worth less each time (Muennighoff et al. 2023, "Scaling data-constrained language
models", equation 5). The last term is a model with room to learn the text by heart from R tokens, repetitions counted.
Dropout slows both: S and U are (1 - p)^s of what was read, and R is (1 - p)^r of it. No loss is above guessing.

The coefficients are fitted by `python -m benchmarks.forecast`, and kept in `forecast.toml` with the name of its record.
The interval is one of a new text: from how far the fit without a text was off on that text, and from how far the
recorded runs leave the coefficients open, so that it is wide where no run was recorded.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nanogpt.config import DEFAULT_PRESET, Config, load_preset
from nanogpt.files import read_toml
from nanogpt.model.parameters import count_parameters
from nanogpt.planning.features import TextFeatures

FILE = Path(__file__).parent / "forecast.toml"
MILLION = 1e6
STEP = 1e-4


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A forecast: nats a token of the validation part, and an interval that nine texts in ten should fall into."""

    loss: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a forecast knows of a training."""

    matrices: int
    """numbers in the blocks' matrices"""
    tokens: int
    """learned from, repetitions counted"""
    batch_tokens: int
    """in a step"""
    block_size: int
    dropout: float

    @classmethod
    def of(cls, config: Config, steps: int) -> "Training":
        """Of a run by this config."""
        batch = config.train.batch_sequences * config.model.block_size
        return cls(
            matrices=count_parameters(config.model).matrices,
            tokens=steps * batch,
            batch_tokens=batch,
            block_size=config.model.block_size,
            dropout=config.model.dropout,
        )


Coefficients = Mapping[str, float]
"""Name to positive number; `trigram_share` is w."""
NAMES = (
    *("floor", "size", "size_power", "tokens", "tokens_power", "context", "context_power"),
    *("updates", "updates_power", "slowing", "excess", "excess_power", "dropout_power", "repeats"),
    "trigram_share",
)


def columns(texts: list[TextFeatures], trainings: list[Training]) -> dict[str, Any]:
    """Pairs of text and training as arrays (rows,), in the units of the law."""
    per_text = [(t.train_tokens / MILLION, t.uniform, t.bigram, t.trigram) for t in texts]
    per_run = [
        (r.matrices / MILLION, r.tokens / MILLION, r.tokens / r.batch_tokens / 100, r.block_size / 64, r.dropout)
        for r in trainings
    ]
    names = ("D", "uniform", "bigram", "trigram"), ("N", "seen", "U", "T", "p")
    found = dict(zip(names[0], np.array(per_text).T)) | dict(zip(names[1], np.array(per_run).T))
    return found


def law(c: Coefficients, x: Mapping[str, Any]) -> Any:
    """The loss of each row of `columns`, (rows,)."""
    S = _worth(c, x)
    U = x["U"] * (1 - x["p"]) ** c["slowing"]
    ratio = c["floor"] + c["size"] * x["N"] ** -c["size_power"] + c["tokens"] * S ** -c["tokens_power"]
    ratio = ratio + c["updates"] * U ** -c["updates_power"] + c["context"] * x["T"] ** -c["context_power"]
    R = x["seen"] * (1 - x["p"]) ** c["dropout_power"]
    by_heart = (x["N"] / x["D"]) ** c["excess_power"] * np.log1p((R / (16 * x["D"])) ** 2)
    ratio = ratio + c["excess"] * by_heart
    h = x["trigram"] ** c["trigram_share"] * x["bigram"] ** (1 - c["trigram_share"])
    return np.minimum(h * ratio, x["uniform"])


def _worth(c: Coefficients, x: Mapping[str, Any]) -> Any:
    """S: what the tokens are worth in fresh ones, in millions."""
    learned = x["seen"] * (1 - x["p"]) ** c["slowing"]
    again = np.maximum(learned / x["D"] - 1, 0.0)
    return np.minimum(learned, x["D"]) + x["D"] * c["repeats"] * (1 - np.exp(-again / c["repeats"]))


@dataclass(frozen=True)
class Forecast:
    """A fitted law and how far it may be off."""

    coefficients: Coefficients
    covariance: Any
    """of the coefficients' logarithms, in the order of `NAMES`, (P, P)"""
    text_error: float
    """how far the logarithm of a loss is off on a new text: root mean square"""
    quantile: float
    """so many standard deviations are half the interval"""

    def predict(self, text: TextFeatures, training: Training) -> Expected:
        """The loss that a training will reach on a text."""
        x = columns([text], [training])
        loss = float(law(self.coefficients, x)[0])
        spread = math.exp(float(self.half_widths(x)[0]))
        return Expected(loss=loss, low=loss / spread, high=min(loss * spread, text.uniform))

    def half_widths(self, x: Mapping[str, Any]) -> Any:
        """Half the interval of each row of `columns`, on a logarithmic scale, (rows,)."""
        slopes = self._slopes(x)  # (rows, P)
        of_coefficients = np.einsum("rp,pq,rq->r", slopes, np.asarray(self.covariance), slopes)
        return self.quantile * np.sqrt(self.text_error**2 + of_coefficients)

    def _slopes(self, x: Mapping[str, Any]) -> Any:
        """Of the logarithm of each row's loss in those of the coefficients, by differences: (rows, P)."""
        c = dict(self.coefficients)

        def moved(step: float) -> Any:
            return np.array([np.log(law(c | {name: c[name] * math.exp(step)}, x)) for name in NAMES])  # (P, rows)

        return (moved(STEP) - moved(-STEP)).T / (2 * STEP)


@cache
def load_forecast() -> Forecast:
    """The one that comes with the package."""
    tables = read_toml(FILE)
    return Forecast(
        coefficients={name: float(tables["coefficients"][name]) for name in NAMES},
        covariance=np.array(tables["covariance"]),
        text_error=float(tables["text_error"]),
        quantile=float(tables["quantile"]),
    )


def is_known(config: Config) -> bool:
    """Whether a training is of the kind that the law was fitted to: the default preset's parts and optimizer."""
    default = load_preset(DEFAULT_PRESET)
    parts = ("norm", "norm_position", "position", "activation", "qk_norm", "tie_embeddings", "init", "n_kv_head")
    same = all(getattr(config.model, name) == getattr(default.model, name) for name in parts)
    return same and config.train.optimizer == default.train.optimizer
