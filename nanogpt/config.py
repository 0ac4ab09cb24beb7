"""All settings of a run as frozen dataclasses: the model, its text and its training.

A setting comes from the dataclass's default, then the preset, then the caller; the last one wins. Wrong values raise
UserError before any work begins, and the message names the setting as a flag. Light to import: no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nanogpt.errors import UserError, check_names, nearest
from nanogpt.files import check_format, read_toml

RUN_FORMAT = 2
"""Newest format of a run: what its bits depend on besides its settings (docs/formats.md)"""


def flag(name: str) -> str:
    """Return a field's name as a flag.

    >>> flag("n_embd")
    '--n-embd'
    """
    return "--" + name.replace("_", "-")


def check_types(config: Any) -> None:
    """Raise UserError for a value of another type than its annotation: TOML and Python callers may give any."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _has_type(value, kind):
            if get_origin(kind) is Literal:
                raise UserError(f"{flag(name)} is {value!r}; {nearest(str(value), map(str, get_args(kind)))}")
            wanted = str(kind) if get_args(kind) else kind.__name__
            raise UserError(f"{flag(name)} is {value!r}, of type {type(value).__name__}; give {wanted}")


def with_tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of a file as a frozen dataclass holds it: lists become tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _has_type(value: Any, kind: Any) -> bool:
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return value in options
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_has_type(one, options[0]) for one in value)
    if options:  # a union
        return any(_has_type(value, one) for one in options)
    return type(value) is kind or (kind is float and type(value) is int)


Range = tuple[str, Callable[[Any], bool]]
POSITIVE: Range = ("a number above 0", lambda value: 0 < value < float("inf"))
NOT_NEGATIVE: Range = ("0 or more", lambda value: 0 <= value < float("inf"))
BELOW_ONE: Range = ("a number from 0 to below 1", lambda value: 0 <= value < 1)
FRACTION: Range = ("a number from 0 to 1", lambda value: 0 <= value <= 1)
PROBABILITY: Range = ("a probability above 0 and at most 1", lambda value: 0 < value <= 1)


def check_range(config: Any, allowed: Range, *names: str) -> None:
    """Raise UserError for a field that is neither None nor in the range."""
    wanted, fits = allowed
    for name in names:
        value = getattr(config, name)
        if value is not None and not fits(value):
            raise UserError(f"{flag(name)} is {value}; choose {wanted}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and parts of the decoder. A preset sets the parts; each can be changed alone."""

    vocab_size: int = 0
    """number of tokens, end-of-document included; with bpe the number to learn (0: 4096), else given by the text"""
    block_size: int = 64
    """context length in tokens"""
    n_layer: int = 4
    """layers (Transformer blocks)"""
    n_head: int = 4
    """attention heads per layer"""
    n_embd: int = 128
    """channels of the residual stream, d_model in the paper"""
    n_kv_head: int | None = None
    """key and value heads, for grouped-query attention, Ainslie et al. 2023 (default: --n-head)"""
    head_size: int | None = None
    """channels per head, d_k in the paper (default: n_embd / n_head)"""
    mlp_hidden: int | None = None
    """width of the feed-forward network (default: 4 n_embd, or 8/3 n_embd with swiglu)"""
    norm: Literal["layer", "rms"] = "layer"
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019)"""
    norm_position: Literal["pre", "post"] = "pre"
    """normalise before each sub-layer (GPT-2) or after it (the paper)"""
    norm_eps: float = 1e-5
    """epsilon added to the variance in normalisation"""
    position: Literal["learned", "sinusoidal", "rope"] = "learned"
    """position encoding; rope rotates queries and keys (Su et al. 2021), the others are added to the embeddings"""
    rope_theta: float = 10_000.0
    """base of the wavelengths of rope"""
    activation: Literal["relu", "gelu", "gelu_tanh", "swiglu"] = "gelu"
    """activation of the feed-forward network; swiglu is gated (Shazeer 2020)"""
    qk_norm: bool = False
    """apply RMSNorm to queries and keys, head by head (Henry et al. 2020)"""
    qkv_bias: bool = False
    """bias in the query, key and value projections"""
    bias: bool = True
    """bias in the other linear layers and in LayerNorm"""
    head_bias: bool = False
    """bias in the output layer"""
    mask_documents: bool = False
    """let attention see only its own document, back to the last end-of-document token"""
    document_token: int | None = None
    """id of the end-of-document token; set from the tokenizer, with mask_documents"""
    tie_embeddings: bool = False
    """share the weights of the token embedding with the output layer (Press and Wolf 2017)"""
    dropout: float = 0.0
    """dropout rate after each sub-layer"""
    attention_dropout: float | None = None
    """dropout rate of the attention weights (default: --dropout)"""
    embedding_dropout: float | None = None
    """dropout rate after the embeddings (default: --dropout)"""
    init: Literal["normal", "scaled", "zero"] = "scaled"
    """initial weights: normal(0, 0.02); the same with projections into the residual stream scaled by depth (GPT-2);
    or uniform by fan-in, with these projections and the output layer zero"""
    format: int = RUN_FORMAT
    """format of the run: 1 trains as versions before 0.2 did, byte for byte"""

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, POSITIVE, "block_size", "n_layer", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden")
        check_range(self, POSITIVE, "norm_eps", "rope_theta")
        check_range(self, NOT_NEGATIVE, "vocab_size")
        check_range(self, BELOW_ONE, "dropout", "attention_dropout", "embedding_dropout")
        check_range(self, (f"a number from 1 to {RUN_FORMAT}", lambda value: 1 <= value <= RUN_FORMAT), "format")
        if self.head_size is None and self.n_embd % self.n_head:
            below = self.n_embd // self.n_head * self.n_head
            raise UserError(
                f"--n-embd {self.n_embd} is not divisible by --n-head {self.n_head}; choose --n-embd "
                f"{below or self.n_head} or {below + self.n_head}, or give --head-size"
            )
        if self.n_head % self.kv_heads:
            raise UserError(
                f"--n-head {self.n_head} is not divisible by --n-kv-head {self.kv_heads}; choose a divisor of "
                f"{self.n_head}"
            )
        if self.position == "rope" and self.head_channels % 2:
            raise UserError(
                f"--position rope needs an even --head-size, but --head-size is {self.head_channels} (default: "
                f"{self.n_embd} / {self.n_head}); choose another, or --position learned"
            )

    @property
    def head_channels(self) -> int:
        """Channels of one head, D."""
        return self.head_size or self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.n_kv_head or self.n_head

    @property
    def hidden(self) -> int:
        """Width of the feed-forward network; smaller with swiglu, which has a third matrix."""
        if self.mlp_hidden:
            return self.mlp_hidden
        if self.activation == "swiglu":
            return max(32, round(8 * self.n_embd / 3 / 32) * 32)
        return 4 * self.n_embd

    @property
    def has_dropout(self) -> bool:
        """Whether anything is dropped in training."""
        return any((self.dropout, self.attention_dropout, self.embedding_dropout))


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How text is read."""

    encoding: str = "utf-8"
    """encoding of the text files"""
    pattern: str | None = None
    """files to read in a folder or archive, for example *.md (default: all)"""
    column: str = "text"
    """text column of .csv, .json(l) and .parquet files and of data sets"""
    documents: str = "auto"
    """what is a document: lines, blank-lines, files (a file or record each), or the text that separates documents
    (default: files, or lines or pieces where a file clearly consists of them)"""
    clean: Literal["none", "auto", "all"] = "auto"
    """leave out Project Gutenberg's licence (auto), or also what is probably no text: front matter, mail headers, page
    numbers, tags, escape codes, copies of documents (all), or nothing (none)"""


@dataclass(frozen=True, kw_only=True)
class DataConfig(TextConfig):
    """How text is read and tokenized."""

    tokenizer: Literal["char", "byte", "bpe"] = "char"
    """tokens are characters, bytes, or sequences of bytes learned from the text (BPE)"""
    tokenizer_from: str | None = None
    """with bpe: a folder with GPT-2's vocab.json and merges.txt, or with a tokenizer.json, to use instead"""
    end_of_document: bool = True
    """put an end-of-document token before each document; samples end with it"""
    unknown: Literal["error", "extend", "skip"] = "error"
    """with --from, if the text has characters that the run's vocabulary lacks: stop, add them, or leave them out"""

    def __post_init__(self) -> None:
        check_types(self)
        if self.documents not in ("auto", "files") and not (self.documents and self.end_of_document):
            raise UserError(
                f"--documents {self.documents or repr('')}: give lines, blank-lines, files or a separator; all but "
                f"files need the token between documents, so add --end-of-document True"
            )
        if self.tokenizer_from is not None and self.tokenizer != "bpe":
            raise UserError(
                f"--tokenizer-from {self.tokenizer_from!r} needs byte-level BPE, but --tokenizer is "
                f"{self.tokenizer!r}; add --tokenizer bpe, or leave it out"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the model is trained. A step is one update of the weights."""

    lora: int | None = None
    """with --from: freeze the weights and train adapters of this rank (Hu et al. 2021)"""
    seed: int = 1337
    """seed of all random streams: initial weights, data order, dropout, samples"""
    batch_size: int = 12
    """sequences per micro-batch (times --accumulation per step); a CPU may read fewer in one forward pass"""
    accumulation: int = 1
    """batches whose gradients are added up in a step; the effective batch is batch_size x accumulation"""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for the matrices inside the blocks and AdamW for the rest (Jordan et al. 2024)"""
    learning_rate: float = 1e-3
    """peak learning rate"""
    embedding_rate: float = 1.0
    """learning rate of the embeddings, as a multiple of --learning-rate"""
    head_rate: float = 1.0
    """learning rate of the output layer, if its weights are not tied, as a multiple of --learning-rate"""
    vector_rate: float = 1.0
    """learning rate of biases and of the gains of normalisation, as a multiple of --learning-rate"""
    warmup: float = 0.05
    """fraction of the run over which the learning rate rises from 0"""
    decay: float = 0.95
    """fraction of the run, at its end, over which the learning rate falls"""
    schedule: Literal["linear", "cosine"] = "linear"
    """shape of this fall: a line, or half a cosine (Loshchilov and Hutter 2017)"""
    final_lr: float = 0.0
    """learning rate at the end, as a fraction of the peak"""
    weight_decay: float = 0.1
    """decoupled weight decay (Loshchilov and Hutter 2019)"""
    weight_decay_on: Literal["matrices", "all"] = "matrices"
    """what AdamW decays: matrices and embeddings, or also biases and the gains of normalisation"""
    momentum: float = 0.95
    """momentum of Muon"""
    beta1: float = 0.9
    """beta1 of AdamW"""
    beta2: float = 0.99
    """beta2 of AdamW"""
    grad_clip: float = 1.0
    """largest norm of the gradient; inf turns clipping off"""
    eval_every: int | None = None
    """steps between evaluations (default: a tenth of the run)"""
    eval_tokens: int = 32_768
    """validation tokens per evaluation during training"""
    final_eval_tokens: int | None = None
    """validation tokens of the last evaluation (default: all)"""
    patience: int | None = None
    """stop after this number of evaluations without a lower loss"""
    sample_tokens: int = 120
    """tokens of the sample after each evaluation; 0 turns it off"""
    log_every: int = 10
    """steps between two lines of metrics"""
    history: Literal["on", "off"] = "on"
    """keep the weights of steps 0, 1, 2, 4, 8 …, one file of the model's size each"""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """if the loss is not finite: stop, or go back to the last checkpoint and halve the learning rate"""
    threads: int | None = None
    """CPU threads (default: chosen by torch); a different number changes floating-point rounding"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device to train on; auto picks the fastest"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """number format of matrix products; auto is bfloat16 where the processor multiplies it, else float32"""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """with torchrun: each process has the whole model (ddp) or a share of its weights (fsdp)"""
    compile: Literal["auto", "on", "off"] = "auto"
    """compile the training step by torch.compile; auto compiles on CUDA, and on a CPU if --minutes are long enough; a
    run goes on without it if it fails"""
    track: tuple[str, ...] = ()
    """also log to tensorboard, wandb, or both (extra `track`)"""

    def __post_init__(self) -> None:
        check_types(self)
        check_names(self.track, TRACKERS, "--track names")
        check_range(self, POSITIVE, "learning_rate", "embedding_rate", "head_rate", "vector_rate", "lora", "threads")
        check_range(self, POSITIVE, "batch_size", "accumulation", "eval_every", "eval_tokens", "final_eval_tokens")
        check_range(self, POSITIVE, "log_every", "patience")
        check_range(self, NOT_NEGATIVE, "seed", "sample_tokens", "weight_decay")
        check_range(self, BELOW_ONE, "warmup", "momentum", "beta1", "beta2")
        check_range(self, FRACTION, "decay", "final_lr")
        if self.lora is not None and (self.optimizer != "adamw" or self.parallel == "fsdp"):
            given = "--optimizer muon" if self.optimizer != "adamw" else "--parallel fsdp"
            raise UserError(f"--lora {self.lora} does not go with {given}; leave one of them out")
        check_range(self, ("a norm above 0, or inf for no limit", lambda value: value > 0), "grad_clip")

    @property
    def batch_sequences(self) -> int:
        """Sequences per step: the effective batch."""
        return self.batch_size * self.accumulation


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How tokens are sampled from a model."""

    tokens: int = 500
    """most tokens to generate"""
    temperature: float = 0.8
    """below 1 safer, above 1 wilder; 0 always picks the likeliest token"""
    top_k: int | None = None
    """sample from the k likeliest tokens (Fan et al. 2018)"""
    top_p: float | None = None
    """sample from the likeliest tokens that together reach this probability (Holtzman et al. 2020)"""
    min_p: float | None = None
    """sample from tokens with at least this fraction of the highest probability (Nguyen et al. 2024)"""
    repetition_penalty: float = 1.0
    """above 1 makes tokens of the context less likely (Keskar et al. 2019)"""
    stop: tuple[str, ...] = ()
    """end before any of these strings"""
    seed: int = 1337
    """same seed, same text"""
    samples: int = 1
    """number of texts, generated in one batch"""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """number format of the weights; on a CPU int8 is faster for a few texts, bfloat16 for many"""

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, POSITIVE, "tokens", "top_k", "repetition_penalty", "samples")
        check_range(self, NOT_NEGATIVE, "temperature", "seed")
        check_range(self, PROBABILITY, "top_p", "min_p")
        if any(not text for text in self.stop):
            raise UserError("a string of --stop is empty; leave it out to stop only at the end")

    @cached_property
    def filters(self) -> tuple[Any, ...]:
        """The settings that change how likely tokens are: rows with the same ones are filtered together."""
        others = ("tokens", "stop", "seed", "samples")
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in others)

    def override(self, **settings: Any) -> "SampleConfig":
        """Return a copy with these settings changed."""
        check_names(settings, [one.name for one in fields(self)], "unknown setting")
        return replace(self, **settings)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a run; the content of `config.toml`."""

    preset: str = "modern"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one step learns from."""
        return self.train.batch_sequences * self.model.block_size

    def override(self, **settings: Any) -> "Config":
        """Return a copy with these settings changed, in whichever part has them."""
        parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        for name, value in settings.items():
            parts[part_of(name)][name] = value
        changed = {part: replace(getattr(self, part), **parts[part]) for part in PARTS if parts[part]}
        return replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        """Return tables for TOML, without the settings that are None: TOML has no null."""
        parts = {part: asdict(getattr(self, part)) for part in PARTS}
        tables = {part: {name: one for name, one in table.items() if one is not None} for part, table in parts.items()}
        return {"format": tables["model"].pop("format"), "preset": self.preset, **tables}

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any], where: str) -> "Config":
        """Read what `to_dict` wrote. Raises UserError, naming `where`, for unknown keys and wrong values."""
        check_format(tables, where, RUN_FORMAT)
        check_names(tables.keys() - {"format"}, ["preset", *PARTS], f"{where}: unknown key")
        parts = {part: _read_part(PARTS[part], tables.get(part, {}), f"{where}: [{part}]") for part in PARTS}
        return cls(preset=str(tables.get("preset", "")), **parts).override(format=tables.get("format", 1))


TRACKERS = ("tensorboard", "wandb")
DEFAULT_PRESET = "modern"
PRESETS = Path(__file__).parent / "presets"
PARTS: dict[str, type] = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig}


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_preset(name: str) -> Config:
    """Read a preset by its name, or settings from a `.toml` file by its path; a new run's text is cleaned.

    >>> load_preset("gpt2").model.activation
    'gelu_tanh'
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise UserError(f"--preset {name}: no such file; give a .toml file, or one of {', '.join(preset_names())}")
        return Config.from_dict({"format": RUN_FORMAT, **read_toml(Path(name)), "preset": name}, name)
    check_names([name], preset_names(), "unknown preset")
    tables = {"format": RUN_FORMAT, "preset": name, **read_toml(PRESETS / f"{name}.toml")}
    return Config.from_dict(tables, f"preset {name}")


def part_of(name: str) -> str:
    """Return the part of a config that has the field `name`: model, data or train."""
    parts = {one.name: part for part, kind in PARTS.items() for one in fields(kind)}
    check_names([name], parts, "unknown setting")
    return parts[name]


def _read_part(kind: type, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise UserError(f"{where} is not a table; write its settings below a line with its name in brackets")
    check_names(table, [one.name for one in fields(kind)], f"{where} unknown key")
    try:
        return kind(**with_tuples(table))
    except UserError as error:
        raise UserError(f"{where} {error}") from None
