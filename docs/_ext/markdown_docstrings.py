"""Docstrings are written in Markdown; autodoc reads reStructuredText: this turns the one into the other.

What the docstrings use of Markdown is little, and only that is known here: `code` in backticks, fences, pipe tables.
Google's sections (`Args:` and so on) are left to napoleon, but not in the docstrings of attributes: what stands there
before a colon would be read as a type.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from textwrap import dedent, indent

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

CODE = re.compile(r"(?<![`\\:])`([^`\n]+(?:\n *[^`\n]+)?)`(?!`)")
CELLS = re.compile(r"(?<!\\)\|")
SEPARATOR = re.compile(r"\s*\|[\s:|-]+\|\s*$")
STEP = "    "
GOOGLE = Config(napoleon_use_rtype=False)


def inline(text: str) -> str:
    # An escaped space ends the literal where a letter follows: `Slot`s.
    return CODE.sub(lambda found: f"``{' '.join(found[1].split())}``\\ ", text)


def is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def fence(lines: Sequence[str], language: str) -> list[str]:
    code = dedent("\n".join(lines))
    language = language or ("python" if is_python(code) else "text")
    return ["", f".. code-block:: {language}", "", *indent(code, STEP).splitlines(), ""]


def table(lines: Sequence[str]) -> list[str]:
    rows = [[cell.strip() for cell in CELLS.split(line.strip()[1:-1])] for line in lines if not SEPARATOR.match(line)]
    made = ["", ".. list-table::", f"{STEP}:header-rows: 1", ""]
    for row in rows:
        for position, cell in enumerate(row):
            made.append(f"{STEP}{'* -' if position == 0 else '  -'} {inline(cell)}")
    return [*made, ""]


def converted(lines: Sequence[str]) -> Iterator[str]:
    """The lines of a docstring in reStructuredText."""
    position = 0
    while position < len(lines):
        line = lines[position]
        margin = line[: len(line) - len(line.lstrip())]
        if line.lstrip().startswith("```"):
            end = next(at for at in range(position + 1, len(lines)) if lines[at].strip() == "```")
            yield from _moved(fence(lines[position + 1 : end], line.strip().strip("`")), margin)
            position = end + 1
        elif line.lstrip().startswith("|"):
            end = next((at for at in range(position, len(lines)) if not lines[at].lstrip().startswith("|")), len(lines))
            yield from _moved(table(lines[position:end]), margin)
            position = end
        else:
            end = next(
                (at for at in range(position, len(lines)) if lines[at].lstrip().startswith(("```", "|"))), len(lines)
            )
            yield from inline("\n".join(lines[position:end])).split("\n")
            position = end


def _moved(lines: Sequence[str], margin: str) -> Iterator[str]:
    return (margin + line if line else line for line in lines)


def convert(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """A listener to `autodoc-process-docstring`."""
    text = list(converted(lines))
    if what not in {"attribute", "data", "property"}:
        text = GoogleDocstring(text, GOOGLE).lines()  # type: ignore[arg-type]  # napoleon's own kind of configuration
    lines[:] = text


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
