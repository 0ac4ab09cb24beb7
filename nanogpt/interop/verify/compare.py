"""Each way to run a model compared with plain torch: logits, greedy text and token ids.

- Logits: the largest difference over all positions of two full contexts, one that the model wrote and one of random
  tokens. The allowed difference depends on the number format and is a share of the logits' spread.
- Text: the likeliest tokens, one after another. They may differ only where two tokens are equally likely.
- Ids: the tokens of the text that the model wrote, and of texts that programs are likely to read differently.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.interop.formats import ModelProgram
from nanogpt.model.gpt import GPT
from nanogpt.model.kv_cache import KVCache
from nanogpt.sampling.decoder import Decoder, can_decode
from nanogpt.sampling.filters import likeliest
from nanogpt.sampling.generate import encode_prompt, generate_ids
from nanogpt.text.tokenizer import Tokenizer

FLOAT32 = 5e-5
"""Allowed difference between two float32 programs, which add in different orders, as a share of the logits' standard
deviation. The largest measured was 8e-6."""
TIE = 1e-4
"""Logits closer than this count as equal."""
GREEDY_TOKENS = 200
LONGEST = 1024
HARD_TEXTS = {
    "combining marks": "café cafe\u0301 a\u0323\u0302 n\u0303 \u0301",
    "Hangul in parts": "\u1112\u1161\u11ab\u1100\u1173\u11af 한글",
    "emoji": "👩\u200d👩\u200d👧\u200d👦 👍🏽 🇪🇸 \u263a\ufe0f",
    "line ends": "a\r\nb\rc\n\n\n d\r\n\r\n",
    "control characters": "\ufeffa\x00b\x01\x1b \x7f\x85\x1c\u200b\u2028x\u00a0\u3000y",
    "digits": "1234567890123456789 3.14 ²½ ١٢٣ 12,345",
    "white space": "  a  b   c    \n     d\t\te \n ",
    "words": "It's we'LL 'tis «¿qué?» naïve 漢字かな שלום don\u2019t",
    "special tokens": "<|endoftext|><|im_start|>user\n<|im_end|> <s>a</s>[INST]<pad><bos>",
}
"""Texts of characters up to Unicode 13, by what is hard about them."""
MOST_NAMES = 99
MAX_LOGITS = 1 << 26
"""Most logits of one context; with a large vocabulary the context is shortened."""
SEED = 1337


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """The inputs for a comparison."""

    drawn: list[int]
    """tokens that the model wrote: a full context, or the start of a very long one"""
    random: list[int]
    """the same number of uniformly random tokens"""
    prompt: list[int]
    """prompt of the greedy text"""
    tokens: int
    """length of the greedy text; with the prompt it fits in the context"""
    text: str
    """text of the drawn tokens"""

    @property
    def longest(self) -> int:
        """The longest context in tokens."""
        return max(len(self.drawn), len(self.prompt) + self.tokens)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result for one way to run the model."""

    name: str
    difference: float | None = None
    """largest difference of a logit"""
    allowed: float | None = None
    text: str = ""
    """how far the greedy texts agree"""
    ids: str = ""
    """whether the text's ids agree"""
    weights: float | None = None
    """largest difference of a weight, as a share of the largest in its row"""
    problems: tuple[str, ...] = ()
    """what differs"""
    not_run: str | None = None
    """why it could not be run, which does not count as passed"""

    @property
    def passed(self) -> bool:
        """Whether it ran and agreed in everything."""
        return self.not_run is None and not self.problems


class PlainTorch:
    """A model in plain torch that reads every context from scratch: the reference for all comparisons."""

    def __init__(self, model: GPT) -> None:
        self.model = model.eval()

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, shape (T, V)."""
        return self.model(torch.tensor([list(ids)]))[0].float()

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, always the likeliest."""
        found = list(ids)
        for _ in range(tokens):
            found.append(int(likeliest(self.logits(found)[-1:])))
        return found[len(ids) :]


def make_contexts(model: GPT, tokenizer: Tokenizer) -> Contexts:
    """Return the inputs for comparing a model, always the same for the same model."""
    prompt = encode_prompt(tokenizer, "")
    size = min(model.config.block_size, LONGEST, max(16, MAX_LOGITS // model.config.vocab_size))
    drawn = prompt[:1].tolist()
    if size > 1:
        config = SampleConfig(temperature=1.0, tokens=size - 1, seed=SEED)
        drawn += [row[0] for row in generate_ids(model, prompt[:1], config)]
    generator = torch.Generator().manual_seed(SEED)
    random: list[int] = torch.randint(model.config.vocab_size, (size,), generator=generator).tolist()
    start = drawn[: max(1, min(8, size // 2))]
    tokens = max(1, min(GREEDY_TOKENS, size - len(start)))
    return Contexts(drawn=drawn, random=random, prompt=start, tokens=tokens, text=tokenizer.decode(drawn))


def find_other_ids(tokenizer: Tokenizer, encode: Callable[[str], list[int]], text: str) -> str | None:
    """Return where another program's ids of the text, or of a hard text, first differ from ours; None if nowhere."""
    added = [one["content"] for one in getattr(tokenizer, "tables", {}).get("added_tokens", [])]
    names = "a".join([*added, *tokenizer.special_token_names().values()][:MOST_NAMES])
    for kind, one in {"the text that it wrote": text, **HARD_TEXTS, "names of special tokens": names}.items():
        ours, theirs = tokenizer.encode(one, "skip").tolist(), encode(one)
        if ours != theirs:
            same = next((n for n, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
            shown, own = (ids[same : same + 1] or "none" for ids in (theirs, ours))
            near = tokenizer.decode(ours[max(0, same - 3) : same + 3])
            return f"its token ids differ in {kind}, at token {same} (near {near!a}): {shown}, the run's {own}"
    return None


def allowed_difference(share: float, logits: Tensor) -> float:
    """Return the largest difference that rounding explains: a share of the logits' standard deviation, at least 1."""
    return share * max(1.0, logits.std().item())


def compare(name: str, reference: GPT, other: ModelProgram, contexts: Contexts, share: float = FLOAT32) -> Row:
    """Compare another way to run the reference, by logits and greedy text; `share` is as in `allowed_difference`."""
    ours = PlainTorch(reference)
    pairs = [(ours.logits(ids), other.logits(ids)) for ids in (contexts.drawn, contexts.random)]
    difference = torch.stack([(one - two).abs().max() for one, two in pairs]).max().item()  # keeps NaN
    allowed = allowed_difference(share, torch.cat([one for one, _ in pairs]))
    problems = []
    if not difference <= allowed:
        problems.append(f"logits differ by {difference:.2g}, allowed are {allowed:.2g}")
    text, diverged = _compare_text(ours, other, contexts, max(TIE, 2 * allowed))
    if diverged:
        problems.append(text)
    return Row(name=name, difference=difference, allowed=allowed, text=text, problems=tuple(problems))


def _compare_text(ours: PlainTorch, other: ModelProgram, contexts: Contexts, tie: float) -> tuple[str, bool]:
    """Return how far the greedy texts agree, and whether they diverge other than at a tie."""
    one, two = (each.greedy(contexts.prompt, contexts.tokens) for each in (ours, other))
    if one == two:
        return f"{len(one)} of {len(one)} tokens", False
    if len(one) != len(two):
        return f"{len(two)} tokens, not {len(one)}", True
    first = next(n for n, (a, b) in enumerate(zip(one, two)) if a != b)
    logits = ours.logits([*contexts.prompt, *one[:first]])[-1]
    gap = (logits[one[first]] - logits[two[first]]).item()
    if gap <= tie:
        return f"{first} of {len(one)} tokens, then a tie ({gap:.1g})", False
    return f"{first} of {len(one)} tokens, then one with a logit lower by {gap:.2g}", True


def native_rows(model: GPT, contexts: Contexts) -> Iterator[Row]:
    """Yield the result for each native way."""
    yield compare("cached", model, Cached(model), contexts)
    yield compare("batched", model, Batched(model), contexts)
    try:
        yield compare("compiled", model, Compiled(model, len(contexts.drawn)), contexts)
    except Exception as error:  # compilers fail in many ways, which differ between machines
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        yield Row(name="compiled", not_run=f"torch.compile does not work here ({reason[:120]})")
    finally:
        torch._dynamo.reset()


class Cached:
    """One token at a time with a key-value cache, as `nanogpt sample` writes."""

    def __init__(self, model: GPT) -> None:
        self.model = model

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, shape (T, V)."""
        model = self.model
        short = replace(model.config, block_size=len(ids))  # a cache for the whole context may not fit in memory
        cache = KVCache(short, 1, model.token_embedding.weight)
        decoder = Decoder(model) if can_decode(model) else None
        rows = []
        for token in ids:
            idx = torch.tensor([[token]])
            rows.append(decoder(idx, cache) if decoder else model(idx, cache)[:, -1])
        return torch.cat(rows)  # (T, V)

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, always the likeliest."""
        config = SampleConfig(temperature=0, tokens=tokens)
        return [row[0] for row in generate_ids(self.model, torch.tensor(list(ids)), config)]


class Batched:
    """In a batch with texts of other lengths, as the server answers several requests."""

    def __init__(self, model: GPT) -> None:
        self.model = model

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, shape (T, V), from the middle one of three rows."""
        idx = torch.tensor(list(ids))
        rows = torch.stack([idx.flip(0), idx, idx.roll(1)])  # (3, T)
        return self.model(rows)[1]

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, written next to a shorter and a longer text."""
        idx = torch.tensor(list(ids))
        batch = [idx[:1], idx, torch.cat([idx, idx])]
        return [row[1] for row in generate_ids(self.model, batch, SampleConfig(temperature=0, tokens=tokens))]


class Compiled(PlainTorch):
    """A model compiled by torch.compile for one context length."""

    def __init__(self, model: GPT, length: int) -> None:
        super().__init__(model)
        self.forward, self.length = torch.compile(model, dynamic=False), length

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, shape (T, V)."""
        padded = [*ids, *[0] * (self.length - len(ids))]
        found: Tensor = self.forward(torch.tensor([padded]))[0]
        return found[: len(ids)]
