"""Small models and runs for tests. Sizes are different primes wherever the architecture allows."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
import torch

from nanogpt.config import Config, SampleConfig, load_preset
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.random_streams import uniform
from nanogpt.reporting.events import StopEvent
from nanogpt.runs.checkpoint import FILES, SUMS, State
from nanogpt.runs.plan import Plan
from nanogpt.runs.run import Run, load
from nanogpt.runs.weights import model_tensors
from nanogpt.sampling.filters import draw, filter_logits, likeliest
from nanogpt.sampling.generate import generate_ids, window_start
from nanogpt.text.tokenizer import CharTokenizer
from nanogpt.training.new_run import create_folder
from nanogpt.training.options import TrainOptions, split_options, start_training
from nanogpt.training.pace import Pace
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
    """Return a preset at tiny sizes, without dropout unless it is named."""
    sizes = {"vocab_size": V, "block_size": BLOCK, "n_layer": LAYERS, "n_head": HEADS, "n_embd": C, "head_size": D}
    return load_preset(preset).override(
        **sizes | {"mlp_hidden": HIDDEN, "dropout": 0.0, "precision": "float32"} | settings
    )


def tiny_model(preset: str = "modern", seed: int = 7, **settings) -> GPT:
    """Return a model in evaluation mode whose weights are all random, so that no path through it is zero or one."""
    model = GPT(tiny_config(preset, **settings).model).eval()
    shake(model, seed)
    return model


@torch.no_grad()
def shake(model: torch.nn.Module, seed: int = 7) -> None:
    """Make every weight random: matrices small, norms near 1, biases near 0, none a round number."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        center = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        p.copy_(center + 0.3 * noise)


def token_ids(*shape: int, vocab_size: int = V, seed: int = 3) -> torch.Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def generated(model: GPT, prompt: torch.Tensor, config: SampleConfig) -> list[int]:
    """Return the tokens that continue one prompt."""
    return [step[0] for step in generate_ids(model, prompt, config)]


@torch.no_grad()
def plain_tokens(
    model: GPT, prompt: torch.Tensor, config: SampleConfig, sample: int = 0, tokens: int | None = None
) -> list[int]:
    """Return generated tokens by their definition: each from its whole window, with a random number of its position."""
    ids = prompt.tolist()
    for position in range(len(prompt), len(prompt) + (tokens or config.tokens)):
        window = torch.tensor([ids[window_start(position, model.config.block_size) :]])
        logits = filter_logits(model(window)[:, -1], window, config)
        number = uniform(config.seed, "sample", sample, position)
        ids.append((draw(logits, [number]) if config.temperature > 1e-20 else likeliest(logits)).item())
    return ids[len(prompt) :]


def write_text(name: str = "tale.txt", characters: int = 1000) -> Path:
    """Write a text with this number of characters, about twenty distinct ones, no line twice; return its path."""
    lines = (f"{n} cats and {n * n % 97} dogs ran to tree {n * 7 % 31}.\n" for n in range(10**6))
    text = ""
    while len(text) < characters:
        text += next(lines)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text[:characters], encoding="utf-8")
    return path.absolute()


def start_run(text=None, quiet=True, **options):
    """Return the trainer of a new run; options and settings as for `nanogpt.train`, arguments as for `start_training`."""
    given = {name: options.pop(name) for name in GIVEN & options.keys()}
    return start_training(*split_options(text, options), quiet=quiet, **given)


def resume_run(path, **moved) -> Trainer | None:
    """Return the trainer of a run to resume, perhaps on another device; None where it is finished."""
    given = {name: moved.pop(name) for name in GIVEN & moved.keys()}
    return start_training(TrainOptions(resume=path), moved, **given)


GIVEN = {"block", "optimizers", "should_stop", "world"}


def start(out: str, steps: int = 8, preset: str = "modern", stop_at: int | None = None, text="tale.txt", **settings):
    """Return the trainer of a small run on `tale.txt`; it stops after `stop_at` steps."""
    if not Path(text).exists():
        write_text(text)
    trainer = start_run(text, steps=steps, preset=preset, out=out, **SMALL_RUN | settings)
    if stop_at is not None:
        trainer.should_stop = lambda: trainer.state.step >= stop_at
    return trainer


def finish(trainer) -> list:
    """Train to the end; return all events."""
    return list(trainer.events())


def kill(trainer, when) -> list:
    """Train until `when(event)`, then abandon the training as a kill does; return the events."""
    events, seen = trainer.events(), []
    while not seen or not when(seen[-1]):
        seen.append(next(events))
    events.close()
    return seen


def of_kind(events, kind) -> list:
    return [event for event in events if isinstance(event, kind)]


def trained(out: str, **settings) -> Path:
    """Return the folder of a small finished run."""
    trainer = start(out, **settings)
    finish(trainer)
    return trainer.folder.path


def whole(**settings) -> tuple:
    """Return the outcome of a small run that was never interrupted; each is trained once."""
    key = repr(sorted(settings.items()))
    if key not in WHOLE:
        WHOLE[key] = outcome(trained(f"whole-{len(WHOLE)}", **settings))
    return WHOLE[key]


WHOLE: dict[str, tuple] = {}


def stopped_and_resumed(out: str, stop_at: int, **settings) -> Path:
    """Return the folder of a finished run that was stopped, saved and resumed by a new trainer."""
    assert isinstance(finish(start(out, stop_at=stop_at, **settings))[-1], StopEvent)
    second = resume_run(out)
    assert finish(second)[0].step == stop_at
    return second.folder.path


def weights(run: Path, which: str = "last") -> bytes:
    """Return the bytes of a checkpoint's model and optimizer."""
    folder = run / "checkpoints" / (run / "checkpoints" / which).read_text().strip()
    return (folder / "model.safetensors").read_bytes() + (folder / "optimizer.safetensors").read_bytes()


def metrics(run: Path) -> list[dict]:
    """Return the lines of metrics.jsonl without times."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) for line in lines]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def outcome(run: Path) -> tuple:
    """Return all of a finished run that interruptions must not change."""
    pointers = [(run / "checkpoints" / name).read_text() for name in ("last", "best")]
    return weights(run, "last"), weights(run, "best"), metrics(run), pointers


class ScriptedPace(Pace):
    """A pace that follows a script instead of a clock: lengths by step, and the steps whose evaluation is skipped."""

    def __init__(self, lengths: Mapping[int, int] | None = None, skipped: Collection[int] = ()) -> None:
        super().__init__(0.0, 1.0)
        self.lengths, self.skipped = lengths or {}, skipped

    def new_length(self, trainer: Trainer) -> int | None:
        return self.lengths.get(trainer.state.step)

    def has_no_time(self, trainer: Trainer) -> bool:
        return trainer.state.step in self.skipped


def refuses(call, *words) -> str:
    """Return the message of the UserError that a call raises; it contains the words."""
    with pytest.raises(UserError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), caught.value
    return str(caught.value)


def raising(error: BaseException):
    """Return a function that takes any arguments and raises an error."""

    def fail(*_, **__):
        raise error

    return fail


def add_up(checkpoint: Path) -> None:
    """Write the right hashes of a checkpoint whose files were changed on purpose."""
    sums = "".join(f"{hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES)
    (checkpoint / SUMS).write_text(sums)


def flip_a_bit(path: Path) -> None:
    """Damage a file as a disk might: its size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def make_run(
    out, preset: str = "modern", text="hello there, old world", tokenizer=None, name="a tale", **settings
) -> Run:
    """Return a run of an untrained model with random weights, on the alphabet of a text."""
    tokenizer = tokenizer or CharTokenizer.train([text])
    config = tiny_config(preset, **{"vocab_size": tokenizer.vocab_size} | settings)
    folder = create_folder(out)
    folder.write_config(config)
    folder.write_tokenizer(tokenizer)
    folder.write_plan(Plan(text=name, source="tale.txt", data_key="k", steps=1))
    model = GPT(config.model).eval()
    shake(model)
    folder.checkpoints.save(State(step=1, best_step=1, best_loss=1.0), model_tensors(model), {})
    return load(out)
