"""Runs gpt.py of the working folder for some steps: a script for `benchmarks.peers.lecture`.

python lecture_script.py STEPS
"""

import re
import runpy
import sys
from itertools import count
from pathlib import Path


def shortened(source: str, steps: int) -> str:
    """The lecture's program with so many steps, two evaluations of one batch each, and nothing written at the end.

    >>> source = "max_iters = 5000\\neval_interval = 500\\neval_iters = 200 # many\\n# generate from the model\\n1 / 0"
    >>> shortened(source, 7).splitlines()
    ['max_iters = 7', 'eval_interval = 1000000000', 'eval_iters = 1 # many']
    """
    for name, value in {"max_iters": steps, "eval_interval": 10**9, "eval_iters": 1}.items():
        source, found = re.subn(rf"^{name} = \d+", f"{name} = {value}", source, flags=re.MULTILINE)
        if found != 1:
            raise SystemExit(f"gpt.py sets {name} {found} times; it is not the lecture's as it was known")
    return source.split("# generate from the model")[0]


def main() -> None:
    """Run it, with a line after each step in nanoGPT's words, and one before each evaluation."""
    from torch import nn
    from torch.optim.optimizer import register_optimizer_step_post_hook

    numbers = count()
    register_optimizer_step_post_hook(lambda *_: print(f"iter {next(numbers)}: done"))
    evaluate = nn.Module.eval

    def told(module: nn.Module) -> nn.Module:
        print("evaluating")
        return evaluate(module)

    nn.Module.eval = told  # type: ignore[method-assign,assignment]
    source = shortened(Path("gpt.py").read_text(encoding="utf-8"), int(sys.argv[1]))
    Path("shortened.py").write_text(source, encoding="utf-8")
    runpy.run_path("shortened.py", run_name="__main__")


if __name__ == "__main__":
    main()
