"""The report: one self-contained page on everything that a script compiles."""

from .collect import report_data
from .command import COMMAND
from .page import render_page

__all__ = ["COMMAND", "render_page", "report_data"]
