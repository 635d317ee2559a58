"""What the site makes of pages that are written to read well as plain Markdown, too.

- The pages that an index links to are its parts, in that order; what else is in their folders follows.
- `<!-- picture: fit_tree -->` is a picture (`pictures.py`); the page of a recipe has that of the tree that it shows.
- `examples.md` shows the examples, and links to their files lead there; a link to another file of the repository says
  where that is.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar
from zlib import crc32

from docutils import nodes
from docutils.parsers.rst import Directive
from pictures import picture, redrawn
from public_names import RECIPES, names_of, public_paths
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

PICTURE = re.compile(r"^<!-- picture: (?P<name>[\w ]+) -->$", re.MULTILINE)
PAGE = re.compile(r"\]\((?P<page>[\w./-]+)\.md(#[\w-]+)?\)")
HEADING = re.compile(r"^## +(?P<title>.+)$", re.MULTILINE)
LINK = re.compile(r"\[(?P<text>[^]\n]+)\]\((?P<target>\.\./[\w./-]+)\)")
TREE = re.compile(r"^```\n(?P<tree>\w[^`\n]*\n[├└]─[^`]*)```\n", re.MULTILINE)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """A listener to `source-read`."""
    text = source[0]
    folder, _, name = docname.rpartition("/")
    root = Path(app.srcdir)
    text = LINK.sub(lambda found: _in_the_site(root, folder, found), text)
    if folder == "recipes":
        text = TREE.sub(r"```{loops}\n\g<tree>```\n", text, count=1)
    text = PICTURE.sub(r"```{loops} \g<name>\n```", text)
    if docname == "examples":
        text += "".join(_example(path) for path in sorted((root.parent / "examples").glob("*.py")))
    if docname == "api/recipes":
        text += "".join(_recipe(module) for module in RECIPES if names_of(module))
    if name == "index":
        text += "\n\n" + "\n\n".join(toctrees(root, folder, text)) + "\n"
    source[0] = text


def _in_the_site(root: Path, folder: str, found: re.Match[str]) -> str:
    """A relative link as it is, unless it leaves the folder of the pages."""
    target = Path(os.path.normpath(root / folder / found["target"]))
    if target.is_relative_to(root):
        return found[0]
    place = target.relative_to(root.parent).as_posix()
    if target.suffix == ".py" and target.parent.name == "examples":
        return f"[{found['text']}]({'../' * len(Path(folder).parts)}examples.md#{target.stem.replace('_', '-')})"
    return f"`{place}`" if found["text"].strip("`") == place else f"{found['text']} (`{place}` in the repository)"


def _example(path: Path) -> str:
    return (
        f"\n## {path.stem.replace('_', ' ')}\n\n```{{literalinclude}} ../examples/{path.name}\n:language: python\n```\n"
    )


def _recipe(module: str) -> str:
    """The part of the reference for a recipe, with the first sentence of its module."""
    said = (inspect.getdoc(importlib.import_module(module)) or "").partition("\n\n")[0]
    title = module.rpartition(".")[2].replace("_", " ").capitalize()
    return f"\n## {title}\n\n{said}\n\n```{{api}} {module}\n```\n"


def toctrees(root: Path, folder: str, text: str) -> Iterator[str]:
    """A hidden toctree for each section of an index that links to pages, with its heading as the caption."""
    parts = HEADING.split(text)
    sections = [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    linked = {_normal(found["page"]) for found in PAGE.finditer(text)}
    seen: set[str] = set()
    for title, section in sections:
        pages = list(dict.fromkeys(_normal(found["page"]) for found in PAGE.finditer(section)))
        pages = [page for page in pages if not page.startswith("..") and page not in seen]
        folders = [*map(os.path.dirname, pages), *([""] if folder and section is sections[-1][1] else [])]
        pages += [page for page in _siblings(root, folder, folders) if page not in linked | seen | set(pages)]
        seen |= set(pages)
        if pages:
            caption = f":caption: {title}\n" if not folder else ""
            yield "```{toctree}\n:hidden:\n" + caption + "\n" + "\n".join(pages) + "\n```"


def _normal(page: str) -> str:
    return os.path.normpath(page)


def _siblings(root: Path, folder: str, folders: Sequence[str]) -> list[str]:
    """The other pages in these folders, but for those that have an index of their own, and for the root."""
    return [
        os.path.relpath(path.with_suffix(""), root / folder)
        for inner in dict.fromkeys(folders)
        if (folder or inner) and not (inner and (root / folder / inner / "index.md").exists())
        for path in sorted((root / folder / inner).glob("*.md"))
        if path.stem != "index"
    ]


class Loops(Directive):
    """A picture, by its name, or of the tree that is its content."""

    has_content: ClassVar[bool] = True
    optional_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        paths = public_paths()
        drawing = picture(self.arguments[0], paths.get) if self.arguments else redrawn(self.content, paths.get)
        return [nodes.raw("", f'<figure class="loops">{drawing}</figure>', format="html")]


def link_pictures(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let the names in pictures lead into the reference, whose pages are known by now."""
    things = app.env.domains.python_domain.objects

    def href(found: re.Match[str]) -> str:
        shown = things[found[1]]
        return f'href="{app.builder.get_relative_uri(docname, shown.docname)}#{shown.node_id}"'

    for raw in doctree.findall(nodes.raw):
        if raw.astext().startswith('<figure class="loops">'):
            raw[:] = [nodes.Text(re.sub(r'href="([\w.]+)"', href, raw.astext()))]


def indices(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The indices are read anew when a page was added or removed."""
    return [name for name in env.found_docs if name.rpartition("/")[2] == "index"] if added | removed else []


def setup(app: Sphinx) -> dict[str, int]:
    app.add_directive("loops", Loops)
    app.connect("source-read", read)
    app.connect("doctree-resolved", link_pictures)
    app.connect("env-get-outdated", indices)
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return {"env_version": crc32(sources), "parallel_read_safe": True, "parallel_write_safe": True}
