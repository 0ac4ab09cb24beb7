"""Each format in the program that it is for, held against the run: made here and now, or a file that is given.

Two things are asked. Whether the file has the run's weights, as near as its number format allows; and whether the other
program computes with them what the library computes with the very same numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.interop.opened import CannotRun, Opened
from nanogpt.interop.proof.compare import FLOAT32, Contexts, Row, compare
from nanogpt.model.gpt import GPT
from nanogpt.runs.run import Run
from nanogpt.runs.weights import model_tensors

ROUNDING = {"f32": (0.0, 0.0), "f16": (2**-11, 2**-25), "q8_0": (0.005, 2**-17), "8 bits": (0.005, 2**-17)}
"""By number format, the largest difference of a weight: as a share of the largest in its row, and beyond that as a
number. Half a step of rounding; with 8 bits a step is 1/127, and its scale, 127 of which make a weight, is rounded to
16 bits too. Numbers below 2^-14 lose digits in 16 bits, and those below 2^-24 are zero."""
SAME = (
    *("vocab_size", "block_size", "n_layer", "n_head", "kv_heads", "n_embd", "head_channels", "hidden", "norm"),
    *("norm_position", "norm_eps", "position", "activation", "qk_norm", "tie_embeddings"),
)
"""Of a model's config, what other programs compute by."""


def export_rows(run: Run, contexts: Contexts, folder: Path) -> Iterator[Row]:
    """A row for each format that can be made; what is made is left in an empty folder."""
    from nanogpt.interop.gguf.export import export_gguf
    from nanogpt.interop.html.export import export_html
    from nanogpt.interop.hugging_face.export import export_hugging_face

    makers: dict[str, Callable[[], Path]] = {
        "Transformers": lambda: export_hugging_face(run, folder / "hf"),
        "llama.cpp, f32": lambda: export_gguf(run, folder / "f32.gguf", "f32"),
        "llama.cpp, f16": lambda: export_gguf(run, folder / "f16.gguf", "f16"),
        "llama.cpp, q8_0": lambda: export_gguf(run, folder / "q8_0.gguf", "q8_0"),
        "browser, 8 bits": lambda: export_html(run, folder / "page.html"),
    }
    for name, make in makers.items():
        try:
            place = make()
        except UserError as error:
            yield Row(name=name, not_run=str(error))
            continue
        try:
            yield replace(given_row(run, contexts, place), name=name)
        except UserError as error:  # what was just made cannot be opened
            yield Row(name=name, problems=(str(error),))


def given_row(run: Run, contexts: Contexts, place: Path) -> Row:
    """A folder of Transformers, a .gguf or an .html file, held against the run.

    Raises UserError for anything else, and for a file that is damaged or of another model.
    """
    if place.is_dir():
        open_it = _transformers
    elif place.suffix in (".gguf", ".html"):
        open_it = _llama if place.suffix == ".gguf" else _browser
    else:
        raise UserError(f"{str(place)!r} is neither a folder of Transformers nor a .gguf or .html file: name one")
    try:
        return _held(run, contexts, str(place), open_it(run, contexts, place))
    except CannotRun as error:
        return Row(name=str(place), not_run=str(error))
    except UserError:
        raise
    except Exception as error:  # another program has its own ways to fail, and each of them is a difference
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Row(name=str(place), problems=(f"it cannot be opened or run ({type(error).__name__}: {reason[:120]})",))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file, and the program that has opened it."""

    weights: Mapping[str, Tensor]
    """as the file has them, by our names"""
    settings: Mapping[str, object]
    """what it says of the model"""
    precision: str
    share: float
    """of the logits' standard deviation, by which the program's may differ from ours on these weights"""
    program: Opened


def _transformers(run: Run, contexts: Contexts, place: Path) -> Target:
    from nanogpt.interop.hugging_face.opening import TransformersModel
    from nanogpt.interop.hugging_face.reading import read_pretrained

    found = read_pretrained(place)
    settings = _settings(found.model) | {"end of a text": found.end_of_document}
    program = TransformersModel(place)
    return Target(weights=found.tensors, settings=settings, precision="f32", share=FLOAT32, program=program)


def _llama(run: Run, contexts: Contexts, place: Path) -> Target:
    from nanogpt.interop.families import family_of
    from nanogpt.interop.gguf.llama import LlamaCpp
    from nanogpt.interop.gguf.precision import TOLERANCE
    from nanogpt.interop.gguf.reading import read_facts, read_gguf
    from nanogpt.interop.gguf.vocabulary import to_vocabulary

    model, facts = run.config.model, read_facts(place)
    end = run.tokenizer.end_of_document
    # Where the run has no end of a text, another token stands for it in the file.
    end_told = end if facts.end == to_vocabulary(run.tokenizer).end else facts.end
    return Target(
        weights=read_gguf(place, model),
        settings={"block_size": facts.block_size, "end of a text": end_told},
        precision=facts.precision,
        share=TOLERANCE[family_of(model).MODEL_TYPE][facts.precision],
        program=LlamaCpp(place, contexts.longest),
    )


def _browser(run: Run, contexts: Contexts, place: Path) -> Target:
    from nanogpt.interop.html.browser import BrowserPage
    from nanogpt.interop.html.reading import check_page, read_html

    check_page(place)
    config, weights = read_html(place)
    program = BrowserPage(place)
    return Target(weights=weights, settings=_settings(config), precision="8 bits", share=FLOAT32, program=program)


def _held(run: Run, contexts: Contexts, name: str, target: Target) -> Row:
    """Settings, weights, logits, text and ids of another program held against the run."""
    with closing(target.program):
        share, beyond = ROUNDING[target.precision]
        apart = weights_apart(model_tensors(run.model), target.weights, beyond)
        if apart is None:
            return Row(name=name, problems=("it is of another model: its weights have other names or sizes",))
        row = compare(name, _with_weights(run.model, target.weights), target.program, contexts, target.share)
        same = target.program.encode(contexts.text) == run.tokenizer.encode(contexts.text).tolist()
        problems = [*_unlike(run, target.settings), *row.problems]
        if not apart <= share:  # also where it is no number
            problems.append(
                f"it is of other weights: they differ by {apart:.2g} of the largest in their row, and "
                f"{target.precision} explains {share:.2g}"
            )
        if not same:
            problems.append("its ids of a text are others")
        return replace(row, weights=apart, ids="the same" if same else "others", problems=tuple(problems))


def _settings(model: ModelConfig) -> dict[str, object]:
    turned = {"rope_theta": model.rope_theta} if model.position == "rope" else {}
    return {name: getattr(model, name) for name in SAME} | turned


def _unlike(run: Run, told: Mapping[str, object]) -> list[str]:
    """What a file says of the model that is not so."""
    own = _settings(run.config.model) | {"end of a text": run.tokenizer.end_of_document}
    return [f"its {name} is {one}, the run's {own.get(name)}" for name, one in told.items() if one != own.get(name)]


def _with_weights(model: GPT, weights: Mapping[str, Tensor]) -> GPT:
    """A model like this one that computes with a file's weights."""
    other = GPT(model.config)
    for name, p in other.named_parameters():
        p.data = weights[name]
    if model.config.tie_embeddings:
        other.lm_head.weight = other.token_embedding.weight
    return other.eval()


def weights_apart(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], beyond: float = 0.0) -> float | None:
    """The largest difference of a weight beyond a number, as a share of the largest in its row.

    None where names or sizes differ.

    >>> one = {"w": torch.tensor([[4.0, 1.0], [8.0, 0.0]])}
    >>> weights_apart(one, {"w": torch.tensor([[4.0, 2.0], [8.0, 1.0]])}), weights_apart(one, {})
    (0.25, None)
    """
    if {name: one.shape for name, one in ours.items()} != {name: one.shape for name, one in theirs.items()}:
        return None
    shares = [
        (((one - theirs[name]).abs().amax(-1) - beyond).clamp_min(0) / one.abs().amax(-1).clamp_min(1e-30)).max()
        for name, one in ours.items()
    ]
    return torch.stack(shares).max().item()  # also where one is no number
