"""The time machine: what a run made of one prompt after each of its steps that were kept.

Shapes: L layers, H heads, T time.
"""

from dataclasses import dataclass

from nanogpt.errors import UserError
from nanogpt.runs.folder import RunFolder
from nanogpt.studio.shelf import Shelf

MOST_SHOWN = 20
"""Tokens of the prompt that the attention is shown of, the newest."""
MOST_TOKENS = 300
LIKELIEST = 3


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of every step."""

    prompt: str = ""
    tokens: int = 120
    temperature: float = 0.0
    """0 takes the likeliest token always, so that whatever changes was learned"""
    seed: int = 1337


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a layer would say next, were it the last."""

    layer: int
    """0 after the embeddings"""
    tokens: tuple[tuple[str, float], ...]
    """the likeliest, with their probabilities"""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The model after a step."""

    step: int
    model: str
    """hash of its weights"""
    prompt: str
    text: str
    """what it writes after the prompt"""
    tokens: tuple[str, ...]
    """of the prompt, as they can be seen: (T,)"""
    attention: tuple[tuple[tuple[tuple[float, ...], ...], ...], ...]
    """(L, H, T, T), the one that looks before the one that is seen"""
    lens: tuple[Reading, ...]
    """at the last token of the prompt"""
    skipped: int
    """tokens of the prompt before these"""

    def weights(self, layer: int, head: int | None) -> tuple[tuple[float, ...], ...]:
        """Attention (T, T) of one head, or the mean of a layer's; of the nearest layer and head that there is."""
        heads = self.attention[min(layer, len(self.attention) - 1)]
        if head is not None:
            return heads[min(head, len(heads) - 1)]
        size = range(len(self.tokens))
        return tuple(tuple(sum(one[i][j] for one in heads) / len(heads) for j in size) for i in size)


def steps_kept(folder: RunFolder) -> list[int]:
    """The steps whose weights are there, in their order."""
    return list(folder.checkpoints.history())


def look_back(shelf: Shelf, name: str, step: int, question: Question) -> Moment:
    """What a run of the shelf made of the prompt after a step. Takes as long as the text: not for the event loop.

    Characters that the model never saw are left out. Raises UserError where the step's weights are gone or damaged.
    """
    try:
        run = shelf.open(name, checkpoint=step)
        lock = shelf.lock_of(run)
    except (OSError, KeyError):  # a training drops old checkpoints while it is watched
        raise UserError(f"the weights of step {step:,} have just been dropped: choose another step") from None
    with lock:
        from nanogpt.explain import lens_at, look, visible

        tokens = min(question.tokens, MOST_TOKENS)
        text = "".join(
            run.stream(question.prompt, "skip", tokens=tokens, temperature=question.temperature, seed=question.seed)
        )
        found = look(run, question.prompt, unknown="skip")
        likeliest = lens_at(run.model, found, -1).softmax(-1).topk(min(LIKELIEST, run.tokenizer.vocab_size))
        first = max(0, len(found.ids) - MOST_SHOWN)
        attention = found.attention[:, :, first:, first:].tolist()
        names = tuple(visible(run.tokenizer, token) for token in found.ids[first:])
        readings = tuple(
            Reading(
                layer=layer,
                tokens=tuple((visible(run.tokenizer, token), share) for token, share in zip(ids, shares)),
            )
            for layer, (ids, shares) in enumerate(zip(likeliest.indices.tolist(), likeliest.values.tolist()))
        )
    return Moment(
        step=step,
        model=shelf.hash_of(run),
        prompt=question.prompt,
        text=text,
        tokens=names,
        attention=tuple(tuple(tuple(tuple(row) for row in head) for head in layer) for layer in attention),
        lens=readings,
        skipped=found.skipped + first,
    )
