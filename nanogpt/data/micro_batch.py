"""How many sequences a training reads at once."""

from nanogpt.config import ModelConfig, TrainConfig

CACHED_NUMBERS = 3 << 18
"""Numbers of the residual stream that a CPU works on at once: what a layer makes of them, about 15 MB in bfloat16,
stays in its cache. Measured with 384 channels and block 256: 8 sequences at a time take half as long as 64."""


def micro_batch(model: ModelConfig, train: TrainConfig, device: str, processes: int = 1) -> int:
    """The most sequences in one micro-step of each of so many processes on this type of device.

    `batch_size` at most; on a CPU also no more than its cache holds, in equal parts where there are some. Under fsdp
    not less, as each micro-step gathers all weights. It follows from settings alone, and never from a clock.

    >>> micro_batch(ModelConfig(n_embd=384, n_head=6, block_size=256), TrainConfig(batch_size=64), "cpu")
    8
    """
    share = train.batch_sequences // processes
    most = train.batch_size
    if device == "cpu" and not (processes > 1 and train.parallel == "fsdp"):
        most = max(1, min(most, CACHED_NUMBERS // (model.n_embd * model.block_size)))
    fewest = -(-share // most)
    parts = next((parts for parts in range(fewest, 2 * fewest) if share % parts == 0), fewest)
    return -(-share // parts)
