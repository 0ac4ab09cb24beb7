"""Sphinx settings. `python -m docs.building` (`make docs`) writes the pages and calls Sphinx."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nanogpt import __version__

project = "Nano-GPT"
release = __version__
extensions = ["myst_nb", "docs.building.sphinx_extensions"]
exclude_patterns = ["notebooks"]  # for download

# Nothing is loaded from other servers: formulas are MathML, and there are no widgets.
html_math_renderer = "mathml"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4

nb_execution_mode = "cache"
nb_execution_cache_path = os.environ.get("NANOGPT_SITE_CACHE", "")
nb_execution_timeout = 900  # seconds per cell; the longest trains for two minutes on two cores
nb_execution_show_tb = True  # a cell that fails is a warning, and warnings are errors
nb_output_stderr = "remove"  # progress
nb_merge_streams = True

autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False

pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = "Nano-GPT"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
