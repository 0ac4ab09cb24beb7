"""The style sheet of curves, facts and samples."""

from pathlib import Path


def learn_css() -> Path:
    """Its file."""
    return Path(__file__).with_name("learn.css")
