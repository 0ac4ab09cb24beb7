"""Building the site: `python -m docs.building` assembles its pages, lets Sphinx build them, and checks the links.

sections     a section of the course as a page: its place, what it adds, the ladder so far
adds         what a section adds: new names, and how model and training differ from the section before
ladder       recorded losses, and what a build measured beside them
pages        the Markdown pages, README among them, with links that lead somewhere on the site
notebooks    the sections as notebooks for Jupyter and Colab: `python -m docs.building.notebooks`
mathml       formulas as MathML (Sphinx extension)
docstrings   our docstrings as reStructuredText (Sphinx extension)
check        links and loaded files of the finished site
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
