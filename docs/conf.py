"""How Sphinx builds the site; CONTRIBUTING.md has the commands."""

import sys
from pathlib import Path

import brainir

sys.path.insert(0, str(Path(__file__).parent))  # for public_names.py

project = "brainir"
author = "the authors of brainir"
version = release = brainir.__version__
html_title = f"brainir {version}"
html_theme = "furo"
html_show_copyright = False
exclude_patterns = ["_build"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "public_names",
]

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120
nb_merge_streams = True

# Docstrings are in NumPy's form, which says what types arguments have.
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False

copybutton_exclude = ".linenos, .gp, .go"
