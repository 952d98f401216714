"""The words of the text form."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .op import GraphError

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|(?:inf|nan)(?![^\Wj]))"

_TOKEN = re.compile(
    rf"""
    (?: [ \t\r]++ | \#[^\n]*+ )*+           # blanks and comments
    (?: (?P<newline> \n\s*+ )
      | (?P<value>   %\w+ )
      | (?P<symbol>  @(?: [\w.]+ | "(?:[^"\\\n]|\\.)*+" ) )
      | (?P<number>  -?{_NUMBER}(?:[+-]{_NUMBER}j)?(?::[a-z]\w*(?:<\w+>)?)? )
      | (?P<type>    [a-z]\w*(?:<\w+>)?\[[0-9,]*\] )
      | (?P<word>    [^\W\d](?:[\w.]|-(?!>))*+ )
      | (?P<string>  "(?:[^"\\\n]|\\.)*+" )
      | (?P<opaque>  <[^<>\n]*> )
      | (?P<mark>    -> | [(){{}}:,=] )
      | (?P<end>     \Z )
      | (?P<bad>     . )
    )""",
    re.VERBOSE,
)


def pointed(line: str, column: int) -> tuple[str, str]:
    """Return a line, or what is near a column if it is long, and a caret to go below it."""
    if len(line) > 120:
        start = max(0, column - 60)
        line, column = line[start : start + 120], column - start
    # Tabs stay tabs, so that the caret stands below what it points at.
    return line, "".join(c if c == "\t" else " " for c in line[:column]) + "^"


class ParseError(GraphError):
    """A text is not a graph.

    Attributes
    ----------
    file : str
        What the text was called.
    line, column : int
        Where the fault is, both from 1.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = neg %z
    ...   return %y
    ... }''', file="model.ir")
    Traceback (most recent call last):
        ...
    brainir.ir.lexer.ParseError: model.ir:2:12: %z is not defined here
    ...
    """

    def __init__(self, what: str, text: str, position: int, file: str) -> None:
        self.file = file
        self.line = text.count("\n", 0, position) + 1
        start = text.rfind("\n", 0, position) + 1
        self.column = position - start + 1
        end = text.find("\n", start)
        line, caret = pointed(text[start : end if end >= 0 else None], position - start)
        margin = f"{self.line} | "
        place = f"{file}:{self.line}:{self.column}"
        super().__init__(f"{place}: {what}\n{margin}{line}\n{' ' * len(margin)}{caret}")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a text, as columns; a mark such as ``(`` is its own kind.

    The last one is of the kind ``end``.
    """

    kinds: list[str]
    texts: list[str]
    positions: list[int]


def tokenize(text: str, file: str) -> Tokens:
    """Cut a text into tokens.

    Raises
    ------
    ParseError
        Where no token begins.
    """
    tokens = Tokens([], [], [])
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "end"
        word, position = match.group(kind), match.start(kind)
        if kind == "bad":
            what = "a string that does not end" if word == '"' else f"unexpected {word!r}"
            raise ParseError(what, text, position, file)
        tokens.kinds.append(word if kind == "mark" else kind)
        tokens.texts.append(word)
        tokens.positions.append(position)
        if kind == "end":
            break
    return tokens
