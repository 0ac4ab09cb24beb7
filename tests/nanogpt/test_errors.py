"""Messages about names, paths and failed writes."""

from pathlib import Path, PureWindowsPath

import pytest
from safetensors import SafetensorError

from nanogpt.errors import UserError, nearest, reported_write, shell_quote


def test_the_nearest_name_is_named_else_all_in_order():
    assert issubclass(UserError, ValueError)
    assert "'train'" in nearest("trian", ["train", "sample"])
    assert nearest("qqq", iter(["train", "eval"])).endswith("eval, train")


@pytest.mark.parametrize(
    ("path", "elsewhere", "windows"),
    [
        ("runs/book-1", "runs/book-1", "runs/book-1"),
        (PureWindowsPath("runs\\book-1"), "runs/book-1", "runs/book-1"),
        (PureWindowsPath("my runs\\1"), "'my runs/1'", '"my runs/1"'),
        ("R&D", "'R&D'", '"R&D"'),
    ],
    ids=str,
)
def test_a_path_in_a_command(path, elsewhere, windows):
    """cmd.exe takes single quotes for a part of the name."""
    assert shell_quote(path, windows=False) == elsewhere
    assert shell_quote(path, windows=True) == windows


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "I/O"), SafetensorError("odd")])
def test_a_failed_write(error):
    Path("my run").mkdir()
    with pytest.raises(UserError) as caught, reported_write("this", Path("my run")):
        raise error
    message = str(caught.value)
    assert all(part in message for part in ("this", str(error.args[-1]), f"--resume {shell_quote('my run')}"))
    assert ("disk space" in message) is ("space" in str(error))
