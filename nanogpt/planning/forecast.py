r"""The loss that a training will reach, forecast before it begins by a scaling law fitted to recorded runs.

    L = h · (floor + size · N^-a + tokens · S^-b + updates · U^-u + context · T^-c
             + excess · (N / D)^d · log(1 + (R / 16D)²))
    h = trigram^w · bigram^(1-w)

N is the numbers in the blocks' matrices in millions, S the tokens learned from in millions, U the updates in hundreds,
T the context length in units of 64, D the tokens of the text in millions, p the dropout. The first three terms are
those of Hoffmann et al. 2022 ("Training compute-optimal large language models", equation 2), relative to the loss of
trigram and bigram counts, so that one law serves every text. Tokens that were read before are worth less each time
(Muennighoff et al. 2023, "Scaling data-constrained language models", equation 5). The last term is overfitting, from R
tokens, repetitions counted. Dropout slows both: S and U are (1 - p)^s of what was read, and R is (1 - p)^r of it.

`python -m benchmarks.forecast` fits the coefficients and writes them to `forecast.toml`. The interval is for a new
text: it includes the error on each text of a fit without that text, and the uncertainty of the coefficients.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nanogpt.config import DEFAULT_PRESET, Config, load_preset
from nanogpt.data.batches import TokenIds
from nanogpt.evaluation.ngrams import Ngrams
from nanogpt.files import read_toml
from nanogpt.model.parameters import count_parameters

FILE = Path(__file__).parent / "forecast.toml"
MILLION = 1e6
STEP = 1e-4
COUNTED = 300_000
"""Most tokens of the training part that n-grams are counted on."""
MEASURED = 100_000
"""Most tokens of the validation part that their loss is measured on."""
PIECES = 50


@dataclass(frozen=True, kw_only=True)
class TextFeatures:
    """What a forecast knows of a text. Losses are in nats per token."""

    train_tokens: int
    """D, of the training part"""
    uniform: float
    """loss of guessing, ln V"""
    bigram: float
    """loss of counts of pairs"""
    trigram: float
    """loss of counts of triples"""


def measure_text(train: TokenIds, val: TokenIds, vocab_size: int) -> TextFeatures:
    """Return the features of a text from its parts, (T,) each, in half a second at most.

    Bigrams and trigrams are counted on the training part and measured on the validation part. They scale the forecasts
    of all sizes alike, so no size is chosen by the validation part.
    """
    uniform = float(np.log(max(vocab_size, 2)))
    if len(train) < 3 or len(val) < 3:
        return TextFeatures(train_tokens=len(train), uniform=uniform, bigram=uniform, trigram=uniform)
    model = Ngrams(spaced(train, COUNTED), vocab_size, 3, "witten-bell")
    measured = spaced(val, MEASURED)
    bigram, trigram = (float(model.losses(measured, order=order)[1:].mean()) for order in (2, 3))
    return TextFeatures(train_tokens=len(train), uniform=uniform, bigram=bigram, trigram=trigram)


def spaced(ids: TokenIds, most: int) -> TokenIds:
    """Return at most `most` tokens, in evenly spaced pieces.

    >>> spaced(np.arange(1000), 100)[:5].tolist()
    [0, 1, 20, 21, 40]
    """
    if len(ids) <= most:
        return ids
    size = most // PIECES
    starts = np.linspace(0, len(ids) - size, PIECES).astype(np.int64)
    return ids[(starts[:, None] + np.arange(size)).ravel()]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A forecast of the validation loss in nats per token, with an interval meant for nine texts in ten."""

    loss: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a forecast knows of a training."""

    matrices: int
    """numbers in the blocks' matrices"""
    tokens: int
    """tokens learned from, repetitions counted"""
    batch_tokens: int
    """tokens of a step"""
    block_size: int
    dropout: float

    @classmethod
    def of(cls, config: Config, steps: int) -> "Training":
        """Describe a run with this config."""
        model, matrices = config.model, count_parameters(config.model).matrices
        batch = config.tokens_per_step
        sizes: dict[str, Any] = {"block_size": model.block_size, "dropout": model.dropout}
        return cls(matrices=matrices, tokens=steps * batch, batch_tokens=batch, **sizes)


Coefficients = Mapping[str, float]
"""Name to positive number; `trigram_share` is w."""
NAMES = (
    *("floor", "size", "size_power", "tokens", "tokens_power", "context", "context_power"),
    *("updates", "updates_power", "slowing", "excess", "excess_power", "dropout_power", "repeats"),
    "trigram_share",
)


def columns(texts: list[TextFeatures], trainings: list[Training]) -> dict[str, Any]:
    """Return pairs of text and training as arrays (rows,), in the units of the law."""
    per_text = [(t.train_tokens / MILLION, t.uniform, t.bigram, t.trigram) for t in texts]
    per_run = [
        (r.matrices / MILLION, r.tokens / MILLION, r.tokens / r.batch_tokens / 100, r.block_size / 64, r.dropout)
        for r in trainings
    ]
    names = ("D", "uniform", "bigram", "trigram"), ("N", "seen", "U", "T", "p")
    return dict(zip(names[0], np.array(per_text).T)) | dict(zip(names[1], np.array(per_run).T))


def law(c: Coefficients, x: Mapping[str, Any]) -> Any:
    """Return the loss of each row of `columns`, (rows,)."""
    slowed = (1 - x["p"]) ** c["slowing"]
    learned, U = x["seen"] * slowed, x["U"] * slowed
    again = np.maximum(learned / x["D"] - 1, 0.0)
    S = np.minimum(learned, x["D"]) + x["D"] * c["repeats"] * (1 - np.exp(-again / c["repeats"]))
    ratio = c["floor"] + c["size"] * x["N"] ** -c["size_power"] + c["tokens"] * S ** -c["tokens_power"]
    ratio = ratio + c["updates"] * U ** -c["updates_power"] + c["context"] * x["T"] ** -c["context_power"]
    R = x["seen"] * (1 - x["p"]) ** c["dropout_power"]
    memorized = (x["N"] / x["D"]) ** c["excess_power"] * np.log1p((R / (16 * x["D"])) ** 2)
    ratio = ratio + c["excess"] * memorized
    h = x["trigram"] ** c["trigram_share"] * x["bigram"] ** (1 - c["trigram_share"])
    return np.minimum(h * ratio, x["uniform"])


@dataclass(frozen=True)
class Forecast:
    """A fitted law and its uncertainty."""

    coefficients: Coefficients
    covariance: Any
    """of the coefficients' logarithms, in the order of `NAMES`, (P, P)"""
    text_error: float
    """root mean square error of the logarithm of the loss on a new text"""
    quantile: float
    """half the interval, in standard deviations"""

    def predict(self, text: TextFeatures, training: Training) -> Expected:
        """Return the loss that a training will reach on a text."""
        x = columns([text], [training])
        loss = float(law(self.coefficients, x)[0])
        factor = math.exp(float(self.half_widths(x)[0]))
        return Expected(loss=loss, low=loss / factor, high=min(loss * factor, text.uniform))

    def half_widths(self, x: Mapping[str, Any]) -> Any:
        """Return half the interval of each row of `columns`, on a logarithmic scale, (rows,)."""
        slopes = self._slopes(x)  # (rows, P)
        of_coefficients = np.einsum("rp,pq,rq->r", slopes, np.asarray(self.covariance), slopes)
        return self.quantile * np.sqrt(self.text_error**2 + of_coefficients)

    def _slopes(self, x: Mapping[str, Any]) -> Any:
        """Return the derivatives of each row's log loss by the coefficients' logarithms, by differences: (rows, P)."""
        c = dict(self.coefficients)

        def moved(step: float) -> Any:
            return np.array([np.log(law(c | {name: c[name] * math.exp(step)}, x)) for name in NAMES])  # (P, rows)

        return (moved(STEP) - moved(-STEP)).T / (2 * STEP)


@cache
def load_forecast() -> Forecast:
    """Read the forecast that comes with the package."""
    tables = read_toml(FILE)
    return Forecast(
        coefficients={name: float(tables["coefficients"][name]) for name in NAMES},
        covariance=np.array(tables["covariance"]),
        text_error=float(tables["text_error"]),
        quantile=float(tables["quantile"]),
    )


def is_known(config: Config) -> bool:
    """Return whether the law was fitted to trainings of this kind: the default preset's parts and optimizer."""
    default = load_preset(DEFAULT_PRESET)
    parts = ("norm", "norm_position", "position", "activation", "qk_norm", "tie_embeddings", "init", "n_kv_head")
    same = all(getattr(config.model, name) == getattr(default.model, name) for name in parts)
    return same and config.train.optimizer == default.train.optimizer
