"""Small models and runs for tests. Sizes are primes, each another, wherever the architecture allows."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from nanogpt.config import Config, load_preset
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.reporting.events import StopEvent
from nanogpt.runs.checkpoint import FILES, SUMS, State
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.runs.run import Run, load
from nanogpt.runs.weights import model_tensors
from nanogpt.text.tokenizer import CharTokenizer
from nanogpt.training.options import TrainOptions, split_options, start_training
from nanogpt.training.trainer import Trainer

PRESETS = ("lecture", "gpt2", "modern")

V, BLOCK, LAYERS, HEADS, C, HIDDEN = 37, 11, 2, 3, 13, 17
D = 10  # even, for RoPE: 2 x 5
B, T = 5, 7

PARTS = [
    *({"norm": norm} for norm in ("rms", "layer")), {"norm_position": "post"}, {"norm_eps": 0.1},
    *({"position": position} for position in ("learned", "sinusoidal", "rope")),
    *({"activation": activation} for activation in ("relu", "gelu", "gelu_tanh", "swiglu")),
    {"rope_theta": 100.0, "position": "rope"}, {"mlp_hidden": 19}, {"qk_norm": True}, {"qkv_bias": True},
    {"bias": True}, {"bias": False}, {"head_bias": True}, {"tie_embeddings": True},
    {"n_kv_head": 1}, {"n_head": 6, "n_kv_head": 2}, {"head_size": 6}, {"head_size": 5, "position": "learned"},
]  # fmt: skip
"""Changes of a preset's parts, which a model and whatever computes its logits must all follow."""

SMALL_RUN = {
    **{"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12},
    **{"batch_size": 3, "sample_tokens": 5, "eval_every": 4},
    "precision": "float32",  # the same numbers on every machine
}


def tiny_config(preset: str = "modern", **settings) -> Config:
    """A preset's parts at tiny sizes, without dropout unless it is named."""
    sizes = {"vocab_size": V, "block_size": BLOCK, "n_layer": LAYERS, "n_head": HEADS, "n_embd": C, "head_size": D}
    return load_preset(preset).override(
        **sizes | {"mlp_hidden": HIDDEN, "dropout": 0.0, "precision": "float32"} | settings
    )


def tiny_model(preset: str = "modern", seed: int = 7, **settings) -> GPT:
    """A model in evaluation mode with every weight drawn, so that no path through it is zero or one."""
    model = GPT(tiny_config(preset, **settings).model).eval()
    shake(model, seed)
    return model


@torch.no_grad()
def shake(model: torch.nn.Module, seed: int = 7) -> None:
    """Draw every weight anew: matrices small, norms near 1, biases near 0, none of them a round number."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        center = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        p.copy_(center + 0.3 * noise)


def token_ids(*shape: int, vocab_size: int = V, seed: int = 3) -> torch.Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def write_text(name: str = "tale.txt", characters: int = 1000) -> Path:
    """A text of so many characters, about twenty distinct ones, never twice the same line."""
    lines = (f"{n} cats and {n * n % 97} dogs ran to tree {n * 7 % 31}.\n" for n in range(10**6))
    text = ""
    while len(text) < characters:
        text += next(lines)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text[:characters], encoding="utf-8")
    return path.absolute()


def start_run(text=None, *, block=None, optimizers=None, should_stop=lambda: False, world=None, quiet=True, **options):
    """The trainer of a new run: options and settings as for `nanogpt.train`."""
    asked, settings = split_options(text, options)
    return start_training(
        asked, settings, block=block, optimizers=optimizers, should_stop=should_stop, world=world, quiet=quiet
    )


def resume_run(path, *, block=None, optimizers=None, should_stop=lambda: False, world=None, **moved) -> Trainer | None:
    """The trainer of a run to resume, perhaps on another device; None where it is finished."""
    return start_training(
        TrainOptions(resume=path), moved, block=block, optimizers=optimizers, should_stop=should_stop, world=world
    )


def start(out: str, steps: int = 8, preset: str = "modern", stop_at: int | None = None, text="tale.txt", **settings):
    """A trainer of a small run on `tale.txt`; `stop_at` asks it to stop after so many steps."""
    if not Path(text).exists():
        write_text(text)
    trainer = start_run(text, steps=steps, preset=preset, out=out, **SMALL_RUN | settings)
    if stop_at is not None:
        trainer.should_stop = lambda: trainer.state.step >= stop_at
    return trainer


def finish(trainer) -> list:
    """All events to the end."""
    return list(trainer.events())


def trained(out: str, **settings) -> Path:
    """The folder of a small finished run."""
    trainer = start(out, **settings)
    finish(trainer)
    return trainer.folder.path


def stopped_and_resumed(out: str, stop_at: int, **settings) -> Path:
    """As `trained`, but stopped and saved on the way, and gone on with by a new trainer."""
    first = start(out, stop_at=stop_at, **settings)
    assert isinstance(finish(first)[-1], StopEvent)
    second = resume_run(out)
    assert second.state.step == stop_at
    finish(second)
    return second.folder.path


def weights(run: Path, which: str = "last") -> bytes:
    """The bytes of a checkpoint's model and optimizer."""
    folder = run / "checkpoints" / (run / "checkpoints" / which).read_text().strip()
    return (folder / "model.safetensors").read_bytes() + (folder / "optimizer.safetensors").read_bytes()


def metrics(run: Path) -> list[dict]:
    """The lines of metrics.jsonl without what a clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def outcome(run: Path) -> tuple:
    """All of a finished run that must not depend on how often it was interrupted."""
    pointers = [(run / "checkpoints" / name).read_text() for name in ("last", "best")]
    return weights(run, "last"), weights(run, "best"), metrics(run), pointers


def refuses(call, *words) -> str:
    """The message of the UserError that a call raises; each of the words is in it."""
    with pytest.raises(UserError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), caught.value
    return str(caught.value)


def add_up(checkpoint: Path) -> None:
    """Write a checkpoint's hashes anew, as whoever changed its files on purpose would."""
    sums = "".join(f"{hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES)
    (checkpoint / SUMS).write_text(sums)


def flip_a_bit(path: Path) -> None:
    """Harm a file as a disk might: its size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def make_run(
    out, preset: str = "modern", text="hello there, old world", tokenizer=None, name="a tale", **settings
) -> Run:
    """A run of a model that was never trained, every weight of it drawn, on the alphabet of a text."""
    tokenizer = tokenizer or CharTokenizer.train([text])
    config = tiny_config(preset, **{"vocab_size": tokenizer.vocab_size} | settings)
    folder = RunFolder.create(out)
    folder.write_config(config)
    folder.write_tokenizer(tokenizer)
    folder.write_plan(Plan(text=name, source="tale.txt", data_key="k", steps=1))
    model = GPT(config.model).eval()
    shake(model)
    folder.checkpoints.save(State(step=1, best_step=1, best_loss=1.0), model_tensors(model), {})
    return load(out)
