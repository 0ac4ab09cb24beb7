"""Building the site: `python -m docs.building` writes the pages, runs Sphinx, and checks the links.

sections            a section of the course as a page, with its lecture times, changes and losses
changes             what a section adds: new names, and how its model and its training differ from the section before
losses              the recorded losses, and a comparison with those of a build
pages               the Markdown pages, with links as on the site, and the table of contents
notebooks           the sections as notebooks for Jupyter and Colab: `python -m docs.building.notebooks`
sphinx_extensions   formulas as MathML, and our docstrings as reStructuredText
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
