"""The Hugging Face Hub: models from it, and models to it when asked. Its own login is used, and never kept."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nanogpt.errors import UserError

if TYPE_CHECKING:
    import huggingface_hub

READ = ["config.json", "generation_config.json", "*.safetensors", "tokenizer.json", "vocab.json", "merges.txt"]
"""Nothing else of a repository is fetched: no pickled weights and no code."""


def fetch(name: str) -> Path:
    """A model of the Hub by its name, in the Hub's own cache. UserError where it cannot be had."""
    hub = _hub()
    try:
        return Path(hub.snapshot_download(name, allow_patterns=READ))
    except Exception as error:  # a network has many ways to fail, and the library a class for each
        raise UserError(
            f"cannot get the model {name!r} from the Hub: {_first_line(error)}; name a folder that is here, or look "
            f"whether the name is right and the network there"
        ) from None


def push(folder: Path, name: str) -> str:
    """Upload a folder; returns its address. A repository that is new is private, until its owner makes it public.

    Raises UserError where the Hub refuses; the folder stays as it is.
    """
    hub = _hub()
    try:
        address = hub.create_repo(name, exist_ok=True, private=True)
        hub.upload_folder(repo_id=name, folder_path=os.fspath(folder))
        return str(address)
    except Exception as error:
        raise UserError(
            f"cannot upload to {name!r}: {_first_line(error)}; log in by `hf auth login` and try again. {folder} is "
            f"whole, and is uploaded as it is by `hf upload {name} {folder}`"
        ) from None


def _hub() -> "huggingface_hub.HfApi":
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise UserError('the Hub needs the package huggingface-hub: pip install "nanogpt[hf]"') from None
    return huggingface_hub.HfApi()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
