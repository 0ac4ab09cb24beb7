"""The model that comes with the package: made from a finished run, measured before and after its rounding to 8 bits.

    python -m benchmarks.starter --make runs/starter
    python -m benchmarks.starter

The run is trained by

    nanogpt train shakespeare --steps 1100 --n-layer 4 --n-head 6 --n-embd 192 --block-size 128 --batch-size 16 \\
        --out runs/starter

whose sizes are those that `nanogpt plan shakespeare --minutes 10` chooses on two cores, and whose steps are what ten
minutes have time for there. The last checkpoint is taken, its matrices are rounded to 8 bits, and what was measured on
the way stands beside it in `made.json`. Without `--make` the model that is there is measured again, and how long
`nanogpt sample --prompt ROMEO:` takes with it: each a fresh process, from its start to its end, in an empty folder.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import nanogpt
from benchmarks.ours import NANOGPT
from benchmarks.pairs import told, values
from benchmarks.processes import own_environment, run
from benchmarks.record import Parts, add_part_options, circumstances
from nanogpt.errors import UserError
from nanogpt.runs.eight_bits import narrow
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.starter import MADE, PLACE, STARTER, how_it_was_made
from nanogpt.runs.weights import model_tensors

TRAINED_BY = (
    "nanogpt train shakespeare --steps 1100 --n-layer 4 --n-head 6 --n-embd 192 --block-size 128 --batch-size 16 "
    "--out runs/starter"
)
LARGEST_BYTES = 4_000_000
SAMPLE = ("sample", "--prompt", "ROMEO:", "--tokens", "100")
GOAL_SECONDS = 3.0
FIGURES = ("loss", "loss_interval", "bits_per_byte", "protocol", "tokens")


def main() -> None:
    """Make it, where that is asked for; measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=Path, metavar="RUN", help="replace the starter model by this run's")
    parser.add_argument("--runs", type=int, default=7, help="cold starts")
    add_part_options(parser)
    options = parser.parse_args()
    if options.make is not None:
        make(options.make)
    parts = Parts("starter", keep=options.keep, trial=options.trial)
    with tempfile.TemporaryDirectory(prefix="starter-") as folder:
        loss = parts.measure({"what": "loss"}, lambda: figures(STARTER, Path(folder)))
        seconds = [
            parts.measure({"what": "cold start", "number": number}, lambda: {"seconds": cold_start(Path(folder))})
            for number in range(options.runs)
        ]
    waited = values([row["seconds"] for row in seconds])
    made = how_it_was_made()
    result = {
        "trained_by": made["trained_by"],
        "parameters": made["parameters"],
        "bytes": size(PLACE),
        "float32": made["float32"],
        "eight_bits": {name: loss[name] for name in FIGURES},
        "sample": {"command": " ".join(["nanogpt", *SAMPLE]), **waited, "goal": GOAL_SECONDS},
    }
    print(f"{result['parameters']:,} parameters, {result['bytes']:,} bytes")
    print(f"loss {made['float32']['loss']:.4f} in float32, {loss['loss']:.4f} in 8 bits ({loss['protocol']})")
    print(f"{result['sample']['command']}: {told(waited)} s, goal {GOAL_SECONDS:g} s")
    parts.write(result)


def make(trained: Path, place: Path = PLACE) -> None:
    """Write the starter of a finished run, anew where there is one. Raises UserError for a run that is not finished."""
    measured_in = circumstances()
    with tempfile.TemporaryDirectory(prefix="starter-") as folder:
        before = figures(str(trained.absolute()), Path(folder))
        round_run(trained, Path(folder) / STARTER)
        after = figures(str(Path(folder) / STARTER), Path(folder))
        state_loss(RunFolder(Path(folder) / STARTER), after)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(Path(folder) / STARTER, place)
    for file in place.rglob("*.safetensors"):
        file.chmod(0o644)  # as the other files of the package: safetensors writes for its owner alone
    made = {
        "trained_by": TRAINED_BY,
        **{name: measured_in[name] for name in ("when", "commit", "hardware", "versions")},
        "parameters": nanogpt.load(place, checkpoint="last", device="cpu").model.parameter_count,
        "float32": {name: before[name] for name in FIGURES},
        "eight_bits": {name: after[name] for name in FIGURES},
        "note": "metrics.jsonl is the training's own, but for its last line: that loss was measured after the rounding",
    }
    (place / MADE).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    if size(place) > LARGEST_BYTES:
        raise UserError(f"{place} has {size(place):,} bytes, more than {LARGEST_BYTES:,}: train a smaller model")


def round_run(trained: Path, place: Path) -> None:
    """A run's last checkpoint as a run of its own, with matrices in 8 bits and no state of the optimizer."""
    run = nanogpt.load(trained, checkpoint="last", device="cpu")
    if not any(line["event"] == "done" for line in run.folder.metrics()):
        raise UserError(f"{str(trained)!r} is not finished: go on with nanogpt train --resume {trained}")
    folder = RunFolder.create(place)
    folder.write_config(run.config)
    folder.write_tokenizer(run.tokenizer)
    folder.write_plan(run.plan)
    shutil.copy(run.path / "metrics.jsonl", place)
    last = run.folder.checkpoints.find("last")
    assert last is not None
    # The one checkpoint that it has is its best.
    state = replace(last.state, best_step=last.state.step)
    folder.checkpoints.save(state, narrow(model_tensors(run.model)), {})


def state_loss(folder: RunFolder, found: dict[str, Any]) -> None:
    """Let the run's last line tell the loss of the weights that it has now."""
    done = next(line for line in folder.metrics() if line["event"] == "done")
    folder.cut_metrics(done["step"])
    folder.append_metrics(done | {name: found[name] for name in done.keys() & found.keys()})


def figures(run_: str, folder: Path) -> dict[str, Any]:
    """What `nanogpt eval --json` says of a run's last checkpoint: the whole-split loss."""
    command = [*NANOGPT, "eval", run_, "--checkpoint", "last", "--json"]
    text = run(command, folder, own_environment(folder)).text
    found: dict[str, Any] = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
    return {name: found[name] for name in FIGURES}


def cold_start(folder: Path) -> float:
    """Seconds of `nanogpt sample` in a folder without runs."""
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        return run([*NANOGPT, *SAMPLE], Path(empty), own_environment(folder)).seconds


def size(place: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
