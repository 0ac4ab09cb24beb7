"""How much memory a training takes, told before anything of it is allocated.

What a forward pass keeps for the backward pass is counted from the model's parts, in bytes a token; a test holds the
count against what torch really keeps. The rest is measured: what the process takes by itself, and the gaps that an
allocator leaves between blocks of different sizes. `python -m benchmarks.memory` holds the whole against the peaks of
processes of their own, and says how far it is off.

Here is arithmetic alone, nothing of torch. C, H, K, D, F, V, T are those of `nanogpt.model.gpt`.
"""

from dataclasses import dataclass

from nanogpt.config import Config, ModelConfig
from nanogpt.data.micro_batch import micro_batch
from nanogpt.model.parameters import adapter_numbers, count_parameters

FLOAT, HALF = 4, 2
"""Bytes of a number."""
PROCESS = 335_000_000
"""Python and torch with its kernels, on a CPU; on a GPU these do not lie in the memory that is looked at."""
GAPS = {"rms": 1.25, "layer": 1.15}
"""Bytes that glibc takes for each one kept, where norms leave many short-lived tensors behind and where few."""
CACHED_GAPS = 1.1
"""The same of torch's own allocators, on GPUs."""
PIECE_QUERIES = 64
"""As in `nanogpt.model.attention`, which imports torch."""
GPU_PIECE_LOGITS = 1 << 26
"""As in `nanogpt.model.loss`. A CPU's pieces are too small to count."""
EVALUATION_TOKENS = 8192
"""As many are read at once without learning from them."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at the peak, by what they are for."""

    process: int
    weights: int
    gradients: int
    optimizer: int
    """what it keeps from step to step"""
    activations: int
    """kept for the backward pass, with the logits, of one micro-step"""
    evaluation: int
    """the same of reading the validation part, where nothing is kept"""
    update: int
    """of the optimizer's step alone"""

    @property
    def peak(self) -> int:
        """The most at any time.

        What one kind of work has given back is seldom taken again by the next: sizes and threads differ. So gradients
        and an evaluation come on top of the activations, though none of them is there at the same time.
        """
        work = max(self.activations, self.update) + self.evaluation
        return self.process + self.weights + self.gradients + self.optimizer + work


def estimate_memory(config: Config, device: str = "cpu", half: bool = False, processes: int = 1) -> Memory:
    """Peak bytes of a training in each of so many processes, on a device of this type.

    `half` says whether its matrix products are in bfloat16. Blocks are the library's: of others nothing is known.
    """
    model, train = config.model, config.train
    count = count_parameters(model)
    shared = processes if train.parallel == "fsdp" else 1
    learned = count.total if train.lora is None else adapter_numbers(model, train.lora)
    muon = count.matrices if train.optimizer == "muon" else 0
    sequences = micro_batch(model, train, device, processes)
    on_cpu = device == "cpu"
    gaps = GAPS[model.norm] if on_cpu else CACHED_GAPS
    tokens = sequences * model.block_size
    each = model.vocab_size * (HALF if half else FLOAT) * tokens
    piece = 0 if on_cpu else 2 * FLOAT * min(GPU_PIECE_LOGITS, model.vocab_size * tokens)
    logits = each + max(each, piece)  # and their scaled gradient, or before it a piece, beside what is kept
    return Memory(
        process=PROCESS if on_cpu else 0,
        weights=(count.total + (0 if train.lora is None else learned)) * FLOAT // shared,
        gradients=learned * FLOAT // shared,
        optimizer=(muon + 2 * (learned - muon)) * FLOAT // shared,
        activations=int(gaps * kept_bytes(model, tokens, half, on_cpu)) + logits,
        evaluation=int(read_bytes(model)),
        update=int(3 * muon * FLOAT),  # the directions, and their iterations
    )


def kept_bytes(model: ModelConfig, tokens: int, half: bool = False, on_cpu: bool = True) -> int:
    """What a forward pass of so many tokens keeps for the backward pass.

    With `half` the matrix products are in bfloat16: what they read and write, and copies of the weights.
    """
    narrow = HALF if half else FLOAT
    head = (2 * model.n_embd + model.vocab_size) * narrow
    kept = tokens * (model.n_layer * (_layer_bytes(model, narrow) + _weights_bytes(model, narrow, on_cpu)) + head)
    return kept + (HALF * (count_parameters(model).matrices + model.vocab_size * model.n_embd) if half else 0)


def _layer_bytes(model: ModelConfig, narrow: int) -> int:
    """Kept for each token in a layer; `narrow` is the size of a number that a matrix product reads or writes."""
    C, queries = model.n_embd, model.n_head * model.head_channels
    turned = (model.n_head + model.kv_heads) * model.head_channels
    kept = 4 * C * narrow + 2 * FLOAT  # twice the stream and its norm, and what it was divided by
    kept += _head_channels(model) * narrow + queries * narrow  # q, k, v; what attention gives, as `proj` reads it
    kept += turned * narrow if model.position == "rope" or model.qk_norm else 0
    kept += (model.n_head + model.kv_heads) * FLOAT if model.qk_norm else 0
    kept += 2 * queries * narrow if model.kv_heads < model.n_head else 0  # keys and values repeated for their group
    return kept + model.hidden * narrow * {"swiglu": 5, "relu": 1}.get(model.activation, 2)


def _weights_bytes(model: ModelConfig, narrow: int, on_cpu: bool) -> int:
    """Attention's weights, kept for each token in a layer where they are computed in pieces (`nanogpt.model.attention`)."""
    T, dropped = model.block_size, model.dropout if model.attention_dropout is None else model.attention_dropout
    if not dropped and not (on_cpu and narrow == HALF):
        return model.n_head * model.head_channels * narrow  # the fused function keeps its result beside its copy
    return model.n_head * (T + min(T, PIECE_QUERIES)) // 2 * narrow  # a piece sees the keys up to its last query


def read_bytes(model: ModelConfig, tokens: int = EVALUATION_TOKENS) -> int:
    """What a forward pass takes where nothing is kept: inside a feed-forward network, or for the logits."""
    inside = 2 * model.n_embd + model.hidden * (4 if model.activation == "swiglu" else 2)
    return max(tokens, model.block_size) * FLOAT * max(inside, model.n_embd + 2 * model.vocab_size)


def _head_channels(model: ModelConfig) -> int:
    """Of queries, keys and values together."""
    return (model.n_head + 2 * model.kv_heads) * model.head_channels
