"""Downloads from the Hugging Face Hub and uploads to it, with the login of its command `hf`."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from nanogpt.errors import UserError

if TYPE_CHECKING:
    import huggingface_hub

ALLOWED = ["config.json", "generation_config.json", "tokenizer.json", "vocab.json", "merges.txt"]
ALLOWED += ["*.safetensors", "model.safetensors.index.json", "tokenizer_config.json", "special_tokens_map.json"]
ALLOWED += ["chat_template.jinja", "adapter_config.json"]
"""The only files that are downloaded of a repository: no pickled weights and no code."""


def download(name: str) -> Path:
    """Return the folder of a model on the Hub, in the Hub's own cache; raise UserError if it cannot be downloaded."""
    hub = _hub()
    try:
        return Path(hub.snapshot_download(name, allow_patterns=ALLOWED))
    except Exception as error:  # a network fails in many ways, and the library has a class for each
        raise UserError(
            f"cannot download the model {name!r} from the Hub: {_first_line(error)}; check its name and the "
            f"network, or give a local folder"
        ) from None


def upload(folder: Path, name: str) -> str:
    """Upload a folder and return its address; a new repository is private. Raises UserError if the Hub refuses."""
    hub = _hub()
    try:
        address = hub.create_repo(name, exist_ok=True, private=True)
        hub.upload_folder(repo_id=name, folder_path=os.fspath(folder))
        return str(address)
    except Exception as error:
        raise UserError(
            f"cannot upload to {name!r}: {_first_line(error)}; log in with `hf auth login` and try again. {folder} is "
            f"complete; `hf upload {name} {folder}` uploads it"
        ) from None


def _hub() -> "huggingface_hub.HfApi":
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise UserError('the Hub needs the package huggingface-hub: pip install "nanogpt[hf]"') from None
    return huggingface_hub.HfApi()


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return re.sub(r"^(Got: )?(\w+Error: )?(\[Errno -?\d+\] )?", "", line)
