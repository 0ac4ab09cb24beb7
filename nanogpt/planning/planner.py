"""The choice of a size: of those that fit the memory, the one that reaches the lowest expected loss in the time."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from nanogpt.config import DEFAULT_PRESET, Config
from nanogpt.data.tokenize import Dataset, fit_block
from nanogpt.errors import OutOfMemory, UserError
from nanogpt.model.parameters import count_parameters
from nanogpt.parallel.world import ALONE, World
from nanogpt.planning.budget import Speeds, steps_within, with_compile, with_evaluations
from nanogpt.planning.forecast import Expected, TextFeatures, Training, is_known, load_forecast, measure_text
from nanogpt.planning.memory import MemoryLimit, check_memory, fits, peak_bytes

FEWEST_COMPARED = 100
"""A size that would get fewer steps is not compared with a smaller one: few recorded runs are so short, and the
learning rate schedule has no time."""


@dataclass(frozen=True)
class Size:
    """A model and its batch."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int

    def settings(self, processes: int = 1) -> dict[str, float]:
        """Return its config fields; the batch is rounded up to a multiple of the processes."""
        return asdict(self) | {"batch_size": -(-self.batch_size // processes) * processes}


# Read off recorded sweeps on held-out parts of training texts (`benchmarks/records/sweeps/`), which reach from the
# second size to the fifth; the two largest are for a GPU. The learning rate is the same for all sizes: Muon's updates
# have the same spectral norm at every width, and 0.03 was the best at 200 steps of 3 layers and at 600 of 5. So is
# weight decay: on texts read eight times, the preset's 0.1 was as good as 0.35 or better, and 1.0 the worst.
SIZES = (
    Size(2, 4, 64, 32, 16),
    Size(3, 4, 128, 64, 16),
    Size(4, 6, 192, 128, 16),
    Size(5, 6, 192, 256, 8),
    Size(5, 8, 256, 256, 16),
    Size(6, 5, 320, 256, 16),
    Size(6, 6, 384, 256, 16),
    Size(8, 8, 512, 256, 32),
    Size(12, 12, 768, 256, 64),
)
"""From small to large."""
DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Dropout slows learning, and pays only where a text is read several times. 0, 0.1, 0.2 and 0.4 were tried."""
SIZE_FIELDS = frozenset(
    {"n_layer", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden", "block_size", "batch_size", "accumulation"}
)
"""If the user sets one of these, the planner keeps all sizes."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A planned training: its settings, its length, and what to expect."""

    config: Config
    steps: int
    minutes: float | None = None
    """time that the user gave"""
    train_tokens: int
    """tokens of the training part"""
    memory_bytes: int
    """estimated peak in each process"""
    expected: Expected | None = None
    """validation loss; None for a training unlike every recorded run"""

    @property
    def parameters(self) -> int:
        """The parameters of a model with the library's blocks."""
        return count_parameters(self.config.model).total

    @property
    def tokens(self) -> int:
        """The tokens learned from, repetitions counted."""
        return self.steps * self.config.tokens_per_step

    @property
    def epochs(self) -> float:
        """The number of times that the training part is read."""
        return self.tokens / self.train_tokens


class Planner:
    """Plans trainings of one text on this machine. Speeds measured for one plan serve the next."""

    def __init__(
        self,
        config: Config,
        data: Dataset,
        named: Collection[str],
        speeds: Speeds,
        *,
        world: World = ALONE,
        limit: MemoryLimit | None = None,
        fresh: bool = True,
    ) -> None:
        """Prepare the sizes to compare. Raises UserError where none fits the memory limit.

        `config` has the text's vocabulary; settings in `named` stay as they are in it. A model that is not `fresh`
        starts from trained weights and has no forecast.
        """
        self.config, self.data, self.named, self.speeds, self.world = config, data, named, speeds, world
        self.device, self.limit, self.fresh = world.device(config.train.device), limit, fresh
        self.text: TextFeatures = measure_text(data.train, data.val, config.model.vocab_size)
        self.sizes = self._sizes()

    def propose(self, minutes: float, seconds: float) -> Proposal:
        """Return the best training of `seconds`, the rest of the user's `minutes`."""
        best: tuple[Config, int] | None = None
        keeps_dropout = "dropout" in self.named or not may_choose(self.config, self.named)
        for size in self.sizes:
            dropouts = [size] if keeps_dropout else [size.override(dropout=share) for share in DROPOUTS]
            try:
                found = [self._within(one, seconds) for one in dropouts]
            except OutOfMemory:
                if best is None:
                    smaller = "--n-layer, --n-embd and --block-size" if self.fresh else "--block-size"
                    raise UserError(
                        f"out of memory with the smallest size: close other programs, or choose a smaller {smaller}"
                    ) from None
                break
            if best is not None:
                found = [best, *(one for one in found if one[1] >= FEWEST_COMPARED)]
                if len(found) == 1:
                    break
            best = min(found, key=lambda one: self._forecast(*one).loss)
        assert best is not None
        return self.describe(*best, minutes)

    def _within(self, config: Config, seconds: float) -> tuple[Config, int]:
        """Return the config with compilation and evaluations decided, and how many steps fit in `seconds`."""
        config, compiling, speed = with_compile(config, seconds, self.speeds(config, seconds), self.device)
        config = with_evaluations(config, self.data, seconds, speed, self.named)
        return config, steps_within(config, self.data, seconds - self.speeds.spent - compiling, speed)

    def describe(self, config: Config, steps: int, minutes: float | None = None) -> Proposal:
        """Return what to expect of a training with this config."""
        return Proposal(
            config=config,
            steps=steps,
            minutes=minutes,
            train_tokens=len(self.data.train),
            memory_bytes=peak_bytes(config, self.device, self.world.size),
            expected=self._forecast(config, steps) if self.fresh and is_known(config) else None,
        )

    def _forecast(self, config: Config, steps: int) -> Expected:
        return load_forecast().predict(self.text, Training.of(config, steps))

    def _sizes(self) -> Sequence[Config]:
        """Return the sizes that fit the text and the memory, from small to large."""
        limit, device, processes = self.limit, self.device, self.world.size
        if not may_choose(self.config, self.named):
            only = fit_block(self.config, self.data, self.named)
            check_memory(only, limit, device, processes, self.fresh)
            return [only]
        found: list[Config] = []
        for size in SIZES:
            settings = {name: value for name, value in size.settings(processes).items() if name not in self.named}
            wanted = self.config.override(**settings)
            fitting = fit_block(wanted, self.data, self.named)
            if not found:
                check_memory(fitting, limit, device, processes)
            elif fitting.model != wanted.model or not fits(fitting, limit, device, processes):
                break
            found.append(fitting)
        return found


def may_choose(config: Config, named: Collection[str]) -> bool:
    """Return whether the planner may choose the size."""
    return config.preset == DEFAULT_PRESET and set(named).isdisjoint(SIZE_FIELDS)


def smallest_block(config: Config, named: Collection[str]) -> int:
    """Return the shortest context that the planner could choose."""
    return SIZES[0].block_size if may_choose(config, named) else config.model.block_size
