"""A tiny section, and a record of losses, for the tests of the site."""

TINY = '''\
# %% [markdown]
# # 1. A tiny section
#
# - **New here:** `double`.
# - **In the lecture:** [00:01:02] nowhere, see also [01:00:00](https://example.org).
#
# Twice $x$ is $2x$.


# %%
from types import SimpleNamespace

from course.console import finish, quiet, run, show


# %%
def double(x):
    """Twice x: any number."""
    return 2 * x


def helper():
    return 1


def show_double():
    """Two numbers and their doubles."""
    assert double(3) == 6
    print("3 doubled is", double(3))


# %%
if __name__ == "__main__":
    show(show_double)


# %%
def main(steps=3, report=quiet):
    losses = SimpleNamespace(step=steps, train=1.0, val=2.0)
    common = dict(parameters=1, seconds=0.0, before=losses, after=losses, protocol="none", sample="abc", others=())
    return SimpleNamespace(label="tiny", steps=steps, **common)


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# Done, as at [00:02:00].

# %%
if __name__ == "__main__":
    finish(result)
'''

RECORD = {
    "command": "python -m benchmarks.ladder",
    "hardware": {"processor": "a processor", "cores": 2},
    "versions": {"torch": "2.0"},
    "sections": [
        {
            "section": section, "idea": idea, "variant": variant, "label": label, "parameters": 1234, "steps": 3000,
            "val_losses": losses, "val_loss": sum(losses) / len(losses), "val_spread": max(losses) - min(losses),
            "train_loss": 1.5,
        }
        for section, idea, variant, label, losses in [
            ("s01_bigram", "a table", "", "bigram", [2.4, 2.6]),
            ("s02_averaging", "a mean", "", "mean", [2.75, 2.75]),
            ("s02_averaging", "a mean", "another mean", "another mean", [2.8]),
            ("s03_positions", "a place", "", "place", [2.25]),
        ]
    ],
}  # fmt: skip
"""as `benchmarks.ladder` writes it"""

TEXT = "the cat sat on the mat, and the dog saw that the cat sat there; so they ran.\n" * 40
"""long enough for the sections, and easy to learn"""
