"""Which size to train in so many minutes: the one whose forecast is best, of those that fit the memory."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nanogpt.config import DEFAULT_PRESET, Config
from nanogpt.data.dataset import Dataset
from nanogpt.errors import UserError
from nanogpt.model.parameters import count_parameters
from nanogpt.parallel.devices import OutOfMemory
from nanogpt.parallel.world import ALONE, World
from nanogpt.planning.budget import steps_within, with_evaluations
from nanogpt.planning.compiling import with_compile
from nanogpt.planning.features import TextFeatures, measure_text
from nanogpt.planning.forecast import Expected, Training, is_known, load_forecast
from nanogpt.planning.machine import Room, check_memory, fits, peak_bytes
from nanogpt.planning.sizes import DROPOUTS, SIZE_FIELDS, SIZES
from nanogpt.planning.speed import Speeds
from nanogpt.text.short_texts import fit_block

FEWEST_STEPS = 100
"""A size that would get fewer is not weighed against a smaller one: few recorded runs are so short, and the learning
rate has no room."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A training that would be made: its settings and length, and what to expect of it."""

    config: Config
    steps: int
    minutes: float | None = None
    """what it would take, where that was asked for"""
    train_tokens: int
    """of the training part"""
    memory_bytes: int
    """estimated peak, in each process"""
    expected: Expected | None = None
    """the validation loss; None for a training of a kind that none of the recorded runs was of"""

    @property
    def parameters(self) -> int:
        """Of a model with the library's blocks."""
        return count_parameters(self.config.model).total

    @property
    def tokens(self) -> int:
        """Learned from in all."""
        return self.steps * self.config.train.batch_sequences * self.config.model.block_size

    @property
    def epochs(self) -> float:
        """How often the training part is read."""
        return self.tokens / self.train_tokens


class Planner:
    """Chooses trainings of one text on this machine; what it has measured serves the next choice."""

    def __init__(
        self,
        config: Config,
        data: Dataset,
        named: Collection[str],
        speeds: Speeds,
        *,
        world: World = ALONE,
        room: Room | None = None,
        fresh: bool = True,
    ) -> None:
        """`config` has the vocabulary of the text; settings in `named` stay as they are in it. Forecasts are of models
        that are `fresh`, and not of those that begin with trained weights.

        Where one of them is a size, or the preset is another than the default, nothing is chosen and only the speed is
        measured. Where there are several processes the first one chooses, and asks the others to `help_to_measure`.
        Raises UserError where nothing fits the memory.
        """
        self.config, self.data, self.named, self.speeds, self.world = config, data, named, speeds, world
        self.device, self.room, self.fresh = world.device(config.train.device), room, fresh
        self.text: TextFeatures = measure_text(data.train, data.val, config.model.vocab_size)
        self.choices = self._choices()

    def propose(self, minutes: float, seconds: float) -> Proposal:
        """The best training of so many seconds, of the minutes that were asked for."""
        best: tuple[Config, int] | None = None
        for candidate in self.choices:
            try:
                found = [self._within(one, seconds) for one in self._with_dropouts(candidate)]
            except OutOfMemory:
                if best is None:
                    smaller = "--n-layer, --n-embd and --block-size" if self.fresh else "--block-size"
                    raise UserError(
                        f"out of memory with the smallest size that is planned: close other programs, or choose a "
                        f"smaller {smaller}"
                    ) from None
                break
            if best is not None:
                found = [best, *(one for one in found if one[1] >= FEWEST_STEPS)]
                if len(found) == 1:
                    break
            best = min(found, key=lambda one: self._forecast(*one).loss)
        assert best is not None
        return self.describe(*best, minutes)

    def _within(self, config: Config, seconds: float) -> tuple[Config, int]:
        """A training of so many seconds by a config: compilation and evaluations decided, and its steps."""
        config, compiling, speed = with_compile(config, seconds, self.speeds(config, seconds), self.device)
        config = with_evaluations(config, self.data, seconds, speed, self.named)
        return config, steps_within(config, self.data, seconds - self.speeds.spent - compiling, speed)

    def _with_dropouts(self, config: Config) -> list[Config]:
        """A size with each dropout that is worth a forecast, where it is the planner's to choose."""
        if "dropout" in self.named or not is_free(self.config, self.named):
            return [config]
        return [config.override(dropout=share) for share in DROPOUTS]

    def describe(self, config: Config, steps: int, minutes: float | None = None) -> Proposal:
        """What to expect of a training by this config."""
        return Proposal(
            config=config,
            steps=steps,
            minutes=minutes,
            train_tokens=len(self.data.train),
            memory_bytes=peak_bytes(config, self.device, self.world),
            expected=self._forecast(config, steps) if self.fresh and is_known(config) else None,
        )

    def _forecast(self, config: Config, steps: int) -> Expected:
        return load_forecast().predict(self.text, Training.of(config, steps))

    def _choices(self) -> Sequence[Config]:
        """From small to large: those that the text is long enough for, and the memory large enough."""
        if not is_free(self.config, self.named):
            only = fit_block(self.config, self.data, self.named)
            check_memory(only, self.room, self.device, self.world, self.fresh)
            return [only]
        found: list[Config] = []
        for size in SIZES:
            settings = {name: value for name, value in size.settings(self.world.size).items() if name not in self.named}
            wanted = self.config.override(**settings)
            fitting = fit_block(wanted, self.data, self.named)
            if not found:
                check_memory(fitting, self.room, self.device, self.world)
            elif fitting.model != wanted.model or not fits(fitting, self.room, self.device, self.world):
                break
            found.append(fitting)
        return found


def is_free(config: Config, named: Collection[str]) -> bool:
    """Whether the size is the planner's to choose."""
    return config.preset == DEFAULT_PRESET and set(named).isdisjoint(SIZE_FIELDS)


def smallest_block(config: Config, named: Collection[str]) -> int:
    """The shortest context that could be chosen."""
    return SIZES[0].block_size if is_free(config, named) else config.model.block_size
