"""A trained model, opened from its run folder: generate, stream, evaluate."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nanogpt.config import Config, SampleConfig
from nanogpt.data.batches import TokenIds
from nanogpt.data.tokenize import Dataset, encode_corpus
from nanogpt.errors import UserError, shell_quote
from nanogpt.evaluation.loss import Evaluation, evaluate
from nanogpt.model.gpt import GPT, Block
from nanogpt.parallel.devices import pick_device
from nanogpt.runs.find import display_name, find_weights, newest_run
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.runs.texts import open_data
from nanogpt.runs.weights import load_model
from nanogpt.sampling.generate import generate_text, stream_text
from nanogpt.text.corpus import Sources, load_corpus
from nanogpt.text.tokenizer import Tokenizer, Unknown


class Run:
    """A run's model and what is needed to use it. `nanogpt.load` and `nanogpt.train` return it."""

    def __init__(self, folder: RunFolder, model: GPT, step: int, notes: tuple[str, ...] = ()) -> None:
        self.folder, self.path = folder, folder.path
        self.config: Config = folder.read_config()
        self.plan: Plan = folder.read_plan()
        self.tokenizer: Tokenizer = folder.read_tokenizer()
        self.model = model
        self.step = step
        """step of the checkpoint that was loaded"""
        self.notes = notes
        """what the user should know, such as a damaged checkpoint"""

    @property
    def name(self) -> str:
        """The run folder's path, or `starter`."""
        return display_name(self.folder)

    def generate(
        self, prompt: str = "", unknown: Unknown = "error", *, config: SampleConfig | None = None, **settings: Any
    ) -> str:
        """Return the prompt and its continuation. Give a `SampleConfig`, or its fields by name.

        Raises UserError for characters that the model never saw (`unknown="skip"` skips them) and bad settings.

        >>> run = nanogpt.load(folder)
        >>> text = run.generate("the c", tokens=7, temperature=0.5)
        >>> text.startswith("the c"), len(text)
        (True, 12)
        """
        return prompt + "".join(self.stream(prompt, unknown, config=config, **settings))

    def generate_batch(
        self,
        prompt: str | Sequence[str] = "",
        unknown: Unknown = "error",
        *,
        config: SampleConfig | None = None,
        **settings: Any,
    ) -> list[str]:
        """Return several texts, each as from `generate`: `samples=3` gives three for each prompt, in order.

        >>> len(nanogpt.load(folder).generate_batch("the", tokens=5, samples=3))
        3
        >>> nanogpt.load(folder).generate_batch(["the", "a cat"], tokens=5)[1][:5]
        'a cat'
        """
        config = (config or SampleConfig()).override(**settings)
        prompts = [one for one in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(config.samples)]
        texts = generate_text(self.model, self.tokenizer, prompt, config, unknown)
        return [one + text for one, text in zip(prompts, texts)]

    def stream(
        self, prompt: str = "", unknown: Unknown = "error", *, config: SampleConfig | None = None, **settings: Any
    ) -> Iterator[str]:
        """Yield the continuation of the prompt as it is generated; arguments as for `generate`.

        >>> len("".join(nanogpt.load(folder).stream("the", tokens=5)))
        5
        """
        config = (config or SampleConfig()).override(**settings)
        if config.samples != 1:
            raise UserError(f"samples is {config.samples}; for several texts at once call generate_batch")
        for pieces in stream_text(self.model, self.tokenizer, prompt, config, unknown):
            if pieces[0]:
                yield pieces[0]

    def evaluate(self, text: Sources = None, unknown: Unknown = "error") -> Evaluation:
        """Return the loss on the run's validation part, or on another text; whole-split protocol.

        >>> evaluation = nanogpt.load(folder).evaluate()
        >>> 0 < evaluation.loss < 4, evaluation.tokens
        (True, 199)
        """
        return evaluate(self.model, self.text_ids(text, unknown), self.tokenizer)

    def data(self, yes: bool = False) -> Dataset:
        """Return the run's token ids; raise UserError where its text is gone or has changed."""
        return open_data(self.folder, yes)

    def text_ids(self, text: Sources = None, unknown: Unknown = "error", yes: bool = False) -> TokenIds:
        """Return the token ids, (T,), of the run's validation part, or of another text; with `yes`, fetch it."""
        if text is None:
            return self.data(yes).val
        return encode_corpus(load_corpus(text, self.config, yes=yes), self.tokenizer, unknown)


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    checkpoint: str | int = "best",
    device: str = "auto",
    block: type[torch.nn.Module] = Block,
) -> Run:
    """Open a run: its `best` checkpoint by validation loss, its `last`, or a step of its history.

    `path` is a run folder, its name in `runs`, or `starter` for the model that comes with the package; by default the
    newest run. `block` is the class of the blocks, if it is your own. Where a checkpoint is damaged, the newest whole
    one is opened and the run's `notes` say so. Raises UserError where files are missing, damaged or don't match.

    >>> run = nanogpt.load(folder)
    >>> run.config.model.n_layer, nanogpt.load(folder, checkpoint=8).step
    (2, 8)
    """
    folder = RunFolder.open(newest_run() if path is None else path)
    plan, config = folder.read_plan(), folder.read_config()
    if block is not Block or plan.block is not None:
        from nanogpt.runs.custom_blocks import check_block

        check_block(plan, block)
    if checkpoint in ("best", "last"):
        found = folder.checkpoints.find(str(checkpoint))
        if found is None:
            raise UserError(
                f"{str(folder.path)!r} has no checkpoint yet: its training has just begun; continue it with "
                f"--resume {shell_quote(folder.path)}"
            )
        file, step, notes = found.path / "model.safetensors", found.state.step, found.notes
    else:
        file, step, notes = *find_weights(folder, str(checkpoint).removeprefix("step-")), ()
    model = load_model(config.model, file, block, folder.checked_start(plan))
    model.to(pick_device(device)).eval()
    return Run(folder, model, step, notes)
