"""Nano-GPT: build a GPT in ten sections, then train one on your own text.

    import nanogpt
    run = nanogpt.train("book.txt", minutes=1)
    print(run.generate("Once"))

`train`, `plan` and `load` are imported when they are first used, so that `import nanogpt` is quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanogpt.errors import UserError
    from nanogpt.runs.run import Run, load
    from nanogpt.training.options import plan, train

__version__ = "0.1.0"
__all__ = ["Run", "UserError", "__version__", "load", "plan", "train"]

_MODULES = {
    "train": "nanogpt.training.options",
    "plan": "nanogpt.training.options",
    "load": "nanogpt.runs.run",
    "Run": "nanogpt.runs.run",
    "UserError": "nanogpt.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'nanogpt' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    # Names that were not used yet are not attributes yet, so tab completion would miss them.
    return sorted(globals().keys() | set(__all__))
