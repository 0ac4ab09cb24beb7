"""Records as the benchmarks write them, with made-up numbers, for what is built from records."""

from benchmarks.ablation import measure as measure_ablation
from benchmarks.generate import summary as sum_up_generation
from benchmarks.loss_in_minutes import summed_up as sum_up_minutes
from benchmarks.pairs import ratios, values
from benchmarks.scaling import SERIES
from benchmarks.scaling import summed_up as sum_up_series
from benchmarks.sides import summary
from benchmarks.throughput import SIZES, add_rates
from benchmarks.tried import effect, verdict

ABOUT = {
    "command": "python -m benchmarks.made",
    "commit": "abc",
    "hardware": {"processor": "Abacus", "cores": 2, "threads": 2},
    "versions": {"python": "3.11", "torch": "2.8"},
}


def side(seconds: float, loss: float | None, step_seconds: float = 0.5) -> dict:
    row = {"seconds": seconds, "import_seconds": 2.0, "step_seconds": step_seconds, "peak_megabytes": 100.0 + seconds}
    return row if loss is None else row | {"loss": loss, "loss_interval": [loss - 0.03, loss + 0.03], "protocol": "w"}


def goals_record() -> dict:
    beside = {"words": ["--block-size", "64"], "steps": 160, "share": 1 / 8}
    measured = summary([{"ours": side(8.0 + n, 1.89), "theirs": side(64.0, 1.898)} for n in range(3)])
    same = summary([{"ours": side(60.0, 1.53 + n / 100), "theirs": side(64.0, 1.898)} for n in range(-1, 2)])
    far = summary([{"ours": side(400.0, 1.46), "theirs": side(40_000.0, None)}])
    return ABOUT | {
        "goals": {
            "cpu-loss": beside
            | {"title": "time to 1.898", "loss": 1.898, "extrapolated": False, "reached": 3, "their_loss": None}
            | measured,
            "cpu-time": beside
            | {"title": "loss in the same time", "loss": 1.62, "extrapolated": False, "reached": 3, "their_loss": None}
            | same,
            "gpu-loss": beside
            | {"title": "time to 1.4697", "loss": 1.4697, "extrapolated": True, "reached": 1, "their_loss": 1.4697}
            | far,
        }
    }


def ladder_record() -> dict:
    def row(section: str, variant: str, losses: list[float]) -> dict:
        mean, spread = sum(losses) / len(losses), max(losses) - min(losses)
        found = {"section": section, "variant": variant, "label": variant or "rung", "idea": "an idea", "steps": 7}
        found |= {"parameters": 4_225, "seconds": [3.0], "sample": "\nKING:\nAnd & so <on>, as it was before.\n" * 3}
        return found | {"val_losses": losses, "val_loss": mean, "val_spread": spread, "train_loss": mean}

    rows = [row("s01_bigram", "", [2.48, 2.5]), row("s07_residual", "plain", [2.3]), row("s07_residual", "", [2.1])]
    return ABOUT | {"seeds": [1337, 1338], "sections": rows}


def minutes_record() -> dict:
    def one(minutes: float, loss: float) -> dict:
        row = {"best_loss": loss - 0.01, "seconds": 60 * minutes * 0.97, "parameters": 821_000}
        row["commit"] = "old" if minutes == 10 else ABOUT["commit"]
        row["plan"] = "expected_loss = 1.72\nexpected_low = 1.6\nexpected_high = 1.715\n"
        return row | {"loss": loss, "loss_interval": [loss - 0.03, loss + 0.03], "protocol": "w"}

    lengths = {1: 1.7, 3: 1.6, 10: 1.5}
    rows = [sum_up_minutes(m, [one(m, loss), one(m, loss + 0.02)]) for m, loss in lengths.items()]
    return ABOUT | {"text": "shakespeare", "rows": rows}


def throughput_record() -> dict:
    rows = []
    for number, (name, size) in enumerate(SIZES.items(), 1):
        found = {"name": name, "size": size, "precision": "auto"} | summary(
            [{"ours": side(9.0, None, 0.2 * number), "theirs": side(30.0, None, number)}]
        )
        add_rates(found, size["block_size"] * size["batch_size"])
        rows.append(found)
    first = {name: {"ours": [1.0] * 20, "largest_difference": 5e-7} for name in ("auto", "float32")}
    return ABOUT | {"rows": rows, "first_steps": first}


def generation_record() -> dict:
    pair = {"stretches": [0.1, 0.2, None], "read_bytes": 4_000, "memory_bytes_per_second": 23e9}
    pairs = [pair | {"seconds": 2.0 * n, "their_seconds": 30.0 * n, "floor_seconds": 1.5 * n} for n in (1, 2, 3)]
    rows = [
        {"precision": "float32", "streams": streams} | sum_up_generation(pairs, streams, 1000) for streams in (1, 64)
    ]
    sizes = {"n_layer": 6, "n_embd": 384, "block_size": 256}
    return ABOUT | {
        "sizes": sizes,
        "tokens": 1000,
        "rows": rows,
        "long": [{"precision": "float32"} | ratios([1.1, 1.3], [1.0, 1.0])],
    }


def profile_record() -> dict:
    products = {"seconds": 0.9, "share": 0.75, "operations_per_second": 850e9}
    return ABOUT | {
        "milliseconds_by_group": {"matrix products": 900.0, "norms": 300.0},
        "step_seconds": {"median": 1.2},
        "tokens_per_second": 13_653.0,
        "precision": "bfloat16",
        "products": products,
    }


def memory_record() -> dict:
    row = {"n_layer": 3, "n_embd": 160, "parameters": 931_000, "predicted_megabytes": 330.0}
    return ABOUT | {"rows": [row | {"measured_megabytes": 300.0, "ratio": 1.1}]}


def startup_record() -> dict:
    return ABOUT | {
        "moments": {"help": values([0.1, 0.12]) | {"goal": 0.3}, "import torch": values([1.2]) | {"goal": None}}
    }


def scaling_record() -> dict:
    def run(cost: float) -> dict:
        return {"step_seconds": cost, "before_seconds": 4.0, "parameters": int(1e5 * cost), "peak_megabytes": 300.0}

    series = {
        name: sum_up_series(name, points, [[run(n), run(1.1 * n)] for n in range(1, len(points) + 1)])
        for name, points in SERIES.items()
    }
    return ABOUT | {"series": series}


def ablation_record() -> dict:
    class Made:
        def measure(self, key, measure):
            if "cost of" in key:
                return {"ratio": 1.1}
            loss = 2.0 + 0.01 * len(key["settings"]) + 0.001 * key["settings"]["seed"]
            tokens = [20.0 + n for n in range(30)]
            return {"loss": loss, "seconds": 1.0, "parameters": 7, "stretches": [[loss * t for t in tokens], tokens]}

    names = ["tied embeddings", "no warm-up", "learned positions for RoPE"]
    text = type("Text", (), {"name": "tale"})()
    rows = measure_ablation(Made(), text, {"steps": 100}, names, seeds=[1, 2], rounds=3)
    return ABOUT | {"base": {"steps": 100}, "seeds": [1, 2], "texts": {"tale": rows}}


def tried_record() -> dict:
    found = effect([(1.9, 2.0), (1.8, 1.9), (1.7, 1.81)])
    row = {"idea": "z-loss", "in_qwen3": True, "step_cost": 1.02, "equal_steps": found, "verdict": verdict(found)}
    untimed = row | {"idea": "windows", "in_qwen3": False, "step_cost": None, "equal_time": effect([])}
    rows = [untimed, row | {"equal_time": effect([(1.8, 2.0), (1.7, 1.9), (1.6, 1.81)])}]
    return ABOUT | {"groups": [{"size": "small", "steps": 200, "texts": ["tale"], "seeds": [1, 2, 3], "rows": rows}]}


def llama_record() -> dict:
    exact = {"precision": "f32", "bytes": 1_500_000, "same_tokens": 200, "gap_where_they_part": None}
    near = {"precision": "f16", "bytes": 800_000, "same_tokens": 21, "gap_where_they_part": 2e-4}
    differences = {"largest_difference": 2e-5, "allowed_difference": 1e-4}
    rows = [{"model": "char", "exports": [exact | differences, near | differences]}]
    return ABOUT | {"tokens": 200, "packages": {"gguf": "0.19"}, "rows": rows}


def page_record() -> dict:
    speeds = {"page": values([350.0, 360.0, 370.0]), "model": values([460.0, 470.0, 480.0])}
    return ABOUT | {
        "parameters": 2_079_792,
        "bytes": 2_861_595,
        "bytes_per_parameter": 1.3759,
        "characters_per_second": speeds,
        "browser": {"program": "chromium", "version": "150", "one_core": True},
        "goals": {"bytes": 3_000_000, "bytes_per_parameter": 1.4, "characters_per_second": 200},
    }


def fine_tuning_record() -> dict:
    row = {"learning_rate": 1e-3, "mean": 1.8, "spread": 0.02}
    return ABOUT | {
        "setting": {"steps": 300, "characters": 100_000},
        "measured": {"before": 3.5, "whole": row, "lora": row, "from nothing": row | {"mean": 2.25}},
        "sweep": {"imported": [row, row | {"learning_rate": 3e-3}], "own run": [row]},
    }


def studio_record() -> dict:
    seconds = {"starting_seconds": values([5.0]), "usable_seconds": values([0.5, 0.7, 0.9])}
    return ABOUT | {
        "parameters": 2_100_013,
        "seconds": seconds | {"writing_seconds": values([0.25])},
        "speed_open_over_closed": ratios([0.97, 0.98, 1.01], [1.0, 1.0, 1.0]),
        "browser": "150.1",
        "goals": {"usable": 2.0, "cost": 0.05},
    }


def serving_record() -> dict:
    def row(streams: int, rates: list[float]) -> dict:
        waits = {"p50": values([0.1 * streams]), "p95": values([0.2 * streams])}
        found = {"rate": values(rates), "over_first": ratios(rates, [250.0] * len(rates))}
        return {"precision": "float32", "streams": streams} | found | waits | {"texts": 1300 * streams, "errors": 0}

    left = {"clients": 1000, "before_bytes": 633e6, "after_bytes": 637e6, "freed_seconds": 0.052}
    sizes = {"n-layer": 6, "n-head": 6, "n-embd": 384, "block-size": 256}
    return ABOUT | {"sizes": sizes, "streams": [row(1, [250.0]), row(3, [500.0, 625.0, 750.0])], "left": left}


def losses_record() -> dict:
    levels = {None: 4.19, 2.5: 2.4849, 2.0: 1.99, 1.7: 1.69, 1.5: 1.4999}
    rows = [
        {"level": level, "step": 10 * n, "loss": loss, "known_words": 0.2 * n, "sample": f"\nO for a muse {n}\n \nof"}
        for n, (level, loss) in enumerate(levels.items())
    ]
    settings = {"n_layer": 5, "n_embd": 192, "block_size": 256}
    return ABOUT | {"steps": 100, "settings": settings, "characters": 4000, "rows": rows}


def answers_record() -> dict:
    def found(asked: int, right: int, ended: int, answer: str) -> dict:
        one = {"question": "Who is Romeo?", "answer": answer, "ended": ended > 0, "right": right > 0}
        return {"asked": asked, "right": right, "ended": ended, "answers": [one] * asked}

    def model(right: int, ended: int, answer: str) -> dict:
        return {kind: found(5, right, ended, answer) for kind in ("learned", "reworded", "new")}

    models = {"before": model(0, 0, "A lord\nand " * 20), "after": model(4, 5, "A son of | Montague.")}
    first = {"steps": 1000, "loss": 1.61, "parameters": 829_000}
    return ABOUT | {"first": first, "second": {"steps": 100, "pairs": 48, "learned": 42}, "models": models}


RECORDS = {
    "losses": losses_record,
    "answers": answers_record,
    "studio": studio_record,
    "serving": serving_record,
    "llama_cpp": llama_record,
    "html_page": page_record,
    "fine_tuning": fine_tuning_record,
    "tried": tried_record,
    "ladder": ladder_record,
    "time_to_loss": goals_record,
    "loss_in_minutes": minutes_record,
    "throughput": throughput_record,
    "generate": generation_record,
    "profile_step_lecture": profile_record,
    "profile_step_lecture_float32": profile_record,
    "memory": memory_record,
    "startup": startup_record,
    "scaling": scaling_record,
    "ablation": ablation_record,
}
