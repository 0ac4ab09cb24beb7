"""What a run is made of, as frozen dataclasses: the model, its text, its training.

Precedence, stated once: the dataclass' default, then the preset's file, then what the caller names. Whatever a
user can get wrong dies here, before any work. Light to import: no torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from nanogpt.checks import check_not_negative, check_positive, check_share, check_types
from nanogpt.errors import UserError, nearest
from nanogpt.files import FORMAT, check_format, read_toml


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The decoder's sizes and parts. Presets set the parts; each can be exchanged alone."""

    vocab_size: int = 0
    """number of distinct tokens, the end-of-document token among them: with bpe how many to learn, 4096 if 0; else it
    is what the text gives"""
    block_size: int = 64
    """longest context, in tokens"""
    n_layer: int = 4
    """number of Transformer blocks"""
    n_head: int = 4
    """attention heads in each block"""
    n_embd: int = 128
    """channels of the residual stream (the paper's d_model)"""
    n_kv_head: int | None = None
    """heads for keys and values; n_head when not given (Ainslie et al. 2023, grouped queries)"""
    head_size: int | None = None
    """channels of one head (the paper's d_k); n_embd / n_head when not given"""
    mlp_hidden: int | None = None
    """width inside the feed-forward network; 4 n_embd, or 8/3 n_embd with swiglu, when not given"""
    norm: Literal["layer", "rms"] = "layer"
    """normalisation: layer (Ba et al. 2016) or rms (Zhang and Sennrich 2019)"""
    norm_position: Literal["pre", "post"] = "pre"
    """before each sub-layer (GPT-2) or after it (the paper)"""
    norm_eps: float = 1e-5
    """added to the variance before its root"""
    position: Literal["learned", "sinusoidal", "rope"] = "learned"
    """position encoding: two kinds added to the embeddings, or queries and keys turned (Su et al. 2021)"""
    rope_theta: float = 10_000.0
    """base of the rotation's wavelengths, with rope"""
    activation: Literal["relu", "gelu", "gelu_tanh", "swiglu"] = "gelu"
    """the feed-forward network's non-linearity; swiglu is gated (Shazeer 2020)"""
    qk_norm: bool = False
    """RMS-normalise each head's queries and keys (Henry et al. 2020)"""
    qkv_bias: bool = False
    """bias in the query, key and value projections"""
    bias: bool = True
    """bias in the other linear layers and in layer normalisation"""
    head_bias: bool = False
    """bias in the output layer"""
    mask_documents: bool = False
    """attention stays inside one document: it does not look back beyond the last end-of-document token"""
    document_token: int | None = None
    """id of the token that opens a document; set from the tokenizer, with mask_documents"""
    tie_embeddings: bool = False
    """the output layer shares the token embedding's weights (Press and Wolf 2017)"""
    dropout: float = 0.0
    """share of channels dropped after each sub-layer, in training"""
    attention_dropout: float | None = None
    """share of attention weights dropped; dropout when not given"""
    embedding_dropout: float | None = None
    """share of channels dropped after the embeddings; dropout when not given"""
    init: Literal["normal", "scaled", "zero"] = "scaled"
    """first weights: normal(0, 0.02); the same, scaled by depth into the residual stream (GPT-2);
    or uniform by fan-in, with zeros into the residual stream and in the output layer"""

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("block_size", "n_layer", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden"):
            check_positive(name, getattr(self, name))
        check_not_negative("vocab_size", self.vocab_size)
        for name in ("dropout", "attention_dropout", "embedding_dropout"):
            check_share(name, getattr(self, name))
        for name in ("norm_eps", "rope_theta"):
            check_positive(name, getattr(self, name))
        if self.head_size is None and self.n_embd % self.n_head:
            raise UserError(
                f"n_embd {self.n_embd} is not divisible by n_head {self.n_head}: choose n_embd "
                f"{self.n_embd // self.n_head * self.n_head or self.n_head} or "
                f"{(self.n_embd // self.n_head + 1) * self.n_head}, or give a head_size"
            )
        if self.n_head % self.kv_heads:
            raise UserError(
                f"n_head {self.n_head} is not divisible by n_kv_head {self.kv_heads}: each key and value head "
                f"serves the same number of query heads; choose a divisor of {self.n_head}"
            )
        if self.position == "rope" and self.head_channels % 2:
            raise UserError(
                f"position 'rope' turns channels in pairs, but head_size is {self.head_channels}: choose an even "
                f"head_size (n_embd {self.n_embd} / n_head {self.n_head}), or position 'learned'"
            )

    @property
    def head_channels(self) -> int:
        """D, the channels of one head."""
        return self.head_size or self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_head or self.n_head

    @property
    def hidden(self) -> int:
        """Channels inside the feed-forward network; swiglu's third matrix is paid for by a narrower one."""
        if self.mlp_hidden:
            return self.mlp_hidden
        if self.activation == "swiglu":
            return max(32, round(8 * self.n_embd / 3 / 32) * 32)
        return 4 * self.n_embd


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How the text becomes tokens."""

    tokenizer: Literal["char", "byte", "bpe"] = "char"
    """one token a character; one a byte of UTF-8 (any text, any language, 256 tokens); or one a frequent sequence of
    bytes, learned from the text (byte-level BPE)"""
    tokenizer_from: str | None = None
    """with bpe: take GPT-2's or another one of its form instead of learning it, from a folder with vocab.json and
    merges.txt or with a tokenizer.json"""
    end_of_document: bool = True
    """a token of its own between documents, and as the end of a generated text"""
    encoding: str = "utf-8"
    """encoding of the text files"""
    pattern: str | None = None
    """which files of a folder to read, by their names, for example *.md; all when not given"""
    column: str = "text"
    """where the text is in .jsonl and .parquet files and in data sets"""

    def __post_init__(self) -> None:
        check_types(self)
        if self.tokenizer_from is not None and self.tokenizer != "bpe":
            raise UserError(
                f"tokenizer_from {self.tokenizer_from!r} is for byte-level BPE, but tokenizer is {self.tokenizer!r}: "
                f"add --tokenizer bpe, or leave it out"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the model is trained. A step is one update of the weights."""

    lora: int | None = None
    """where training begins with another run's weights: leave them as they are, and learn adapters of this rank beside
    them (Hu et al. 2021)"""
    seed: int = 1337
    """every random stream (weights, data order, dropout, samples) is a function of it"""
    batch_size: int = 12
    """sequences in one micro-step: one forward and backward pass"""
    accumulation: int = 1
    """micro-steps in one step; the effective batch is batch_size x accumulation"""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw for everything; or muon for the matrices inside the blocks (Jordan et al. 2024), adamw for the rest"""
    learning_rate: float = 1e-3
    """the highest of the schedule"""
    embedding_rate: float = 1.0
    """learning rate of the embeddings, as a multiple of learning_rate"""
    head_rate: float = 1.0
    """the same for the output layer, where it has weights of its own"""
    vector_rate: float = 1.0
    """the same for biases and the gains of norms"""
    warmup: float = 0.05
    """share of the run in which the learning rate rises from 0"""
    decay: float = 0.95
    """share of the run, at its end, in which it falls in a line"""
    final_lr: float = 0.0
    """share of the learning rate that is left at the end"""
    weight_decay: float = 0.1
    """decoupled weight decay of the matrices (Loshchilov and Hutter 2019); biases and norms have none"""
    momentum: float = 0.95
    """Muon's memory of the gradient"""
    beta1: float = 0.9
    """AdamW's memory of the gradient"""
    beta2: float = 0.99
    """AdamW's memory of its square"""
    grad_clip: float = 1.0
    """largest norm of the whole gradient; inf for no limit"""
    eval_every: int | None = None
    """steps between evaluations; a tenth of the run when not given"""
    eval_tokens: int = 32_768
    """validation tokens read by an evaluation on the way"""
    final_eval_tokens: int | None = None
    """validation tokens read by the last evaluation; all of them when not given"""
    patience: int | None = None
    """stop after so many evaluations without a better loss"""
    sample_tokens: int = 120
    """length of the sample after each evaluation; 0 for none"""
    log_every: int = 10
    """steps between two lines of metrics"""
    history: Literal["on", "off"] = "on"
    """keep the weights of steps 0, 1, 2, 4, 8 … for looking back; a file as large as the model for each"""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """where a loss is not finite: stop, or go back to the last checkpoint with half the learning rate"""
    threads: int | None = None
    """CPU threads; as many as torch takes when not given. Another number rounds sums otherwise"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """where to train; auto takes the fastest there is"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """number format of the products in training; auto is bfloat16 on processors that multiply it, else float32"""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """where torchrun starts several processes: each has the whole model (ddp), or a share of its weights (fsdp)"""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of the training step; auto compiles on CUDA, and on a CPU where so many minutes were asked for that
    it pays; where it fails the run goes on without it"""

    track: tuple[str, ...] = ()
    """also log to tensorboard, wandb, or both (extra `track`)"""

    def __post_init__(self) -> None:
        check_types(self)
        for name in self.track:
            if name not in TRACKERS:
                raise UserError(f"track names {name!r}; {nearest(name, TRACKERS)}")
        for name in (
            "batch_size",
            "accumulation",
            "learning_rate",
            "embedding_rate",
            "head_rate",
            "vector_rate",
            "eval_every",
            "eval_tokens",
            "final_eval_tokens",
            "log_every",
            "patience",
            "threads",
            "lora",
        ):
            check_positive(name, getattr(self, name))
        for name in ("warmup", "decay", "final_lr", "momentum", "beta1", "beta2"):
            check_share(name, getattr(self, name), top=name in ("decay", "final_lr"))
        for name in ("seed", "sample_tokens", "weight_decay"):
            check_not_negative(name, getattr(self, name))
        if self.lora is not None and (self.optimizer != "adamw" or self.parallel == "fsdp"):
            given = "optimizer muon" if self.optimizer != "adamw" else "parallel fsdp"
            raise UserError(f"lora {self.lora} does not go with {given}: adapters are small, and adamw trains them")
        if not self.grad_clip > 0:
            raise UserError(f"grad_clip is {self.grad_clip}; choose a norm above 0, or inf for no limit")

    @property
    def batch_sequences(self) -> int:
        """Sequences in one step, the effective batch."""
        return self.batch_size * self.accumulation


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How text is drawn from a model."""

    tokens: int = 500
    """most tokens to generate"""
    temperature: float = 0.8
    """below 1 safer, above 1 wilder; 0 always takes the likeliest token"""
    top_k: int | None = None
    """draw among the k likeliest tokens (Fan et al. 2018)"""
    top_p: float | None = None
    """draw among the likeliest tokens that together reach this probability (Holtzman et al. 2020)"""
    min_p: float | None = None
    """draw among tokens at least this share as likely as the likeliest (Nguyen et al. 2024)"""
    repetition_penalty: float = 1.0
    """above 1 makes tokens of the context less likely (Keskar et al. 2019)"""
    stop: tuple[str, ...] = ()
    """end before any of these strings"""
    seed: int = 1337
    """same seed, same text"""
    samples: int = 1
    """how many texts, drawn together"""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """number format of the weights; on a CPU int8 is faster for a text or a few, bfloat16 for many"""

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("tokens", "top_k", "repetition_penalty", "samples"):
            check_positive(name, getattr(self, name))
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature is {self.temperature}; choose 0 (always the likeliest) or more")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise UserError(f"{name} is {value}; choose a probability above 0 and at most 1")
        check_not_negative("seed", self.seed)
        if any(not text for text in self.stop):
            raise UserError("a stop string is empty; leave it out to stop only at the end")


@dataclass(frozen=True, kw_only=True)
class Config:
    """All of a run's settings; what `config.toml` holds."""

    preset: str = "modern"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def override(self, **settings: Any) -> "Config":
        """This config with single settings changed, each named as its field in whichever part has it."""
        parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for name, value in settings.items():
            parts[part_of(name)][name] = value
        changed = {part: replace(getattr(self, part), **parts[part]) for part in PARTS if parts[part]}
        return replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        """Plain tables for TOML, which has no null: a setting that is not given is left out."""
        tables = {part: _without_none(asdict(getattr(self, part))) for part in PARTS}
        return {"format": FORMAT, "preset": self.preset, **tables}

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any], where: str) -> "Config":
        """Read what `to_dict` wrote. Raises UserError, naming `where`, for unknown keys and wrong types."""
        check_format(tables, where)
        for key in tables:
            if key not in ("format", "preset", *PARTS):
                raise UserError(f"{where}: unknown key {key!r}; {nearest(key, ['preset', *PARTS])}")
        parts = {part: _read_part(PARTS[part], tables.get(part, {}), f"{where}: [{part}]") for part in PARTS}
        return cls(preset=str(tables.get("preset", "")), **parts)


TRACKERS = ("tensorboard", "wandb")
DEFAULT_PRESET = "modern"
PRESETS = Path(__file__).parent / "presets"
PARTS: dict[str, type] = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig}


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_preset(name: str) -> Config:
    """A preset by name, or a config from a `.toml` file by its path.

    >>> load_preset("gpt2").model.activation
    'gelu_tanh'
    """
    if name.endswith(".toml"):
        return Config.from_dict(read_toml(Path(name)) | {"preset": name}, name)
    if name not in preset_names():
        raise UserError(f"unknown preset {name!r}; {nearest(name, preset_names())}")
    return Config.from_dict({"preset": name, **read_toml(PRESETS / f"{name}.toml")}, f"preset {name}")


def part_of(name: str) -> str:
    """Which part of a config has the field `name`: model, data or train."""
    for part, kind in PARTS.items():
        if name in {f.name for f in fields(kind)}:
            return part
    known = [f.name for kind in PARTS.values() for f in fields(kind)]
    raise UserError(f"unknown setting {name!r}; {nearest(name, known)}")


def _read_part(kind: type, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise UserError(f"{where} is not a table; write its settings below a line with its name in brackets")
    known = [f.name for f in fields(kind)]
    for key in table:
        if key not in known:
            raise UserError(f"{where} unknown key {key!r}; {nearest(key, known)}")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})
    except UserError as error:
        raise UserError(f"{where} {error}") from None


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}
