"""Every link leads somewhere: in the built site, and between the files of the repository as its host shows them."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.site import ROOT

FILES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"!?\[[^]\n]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)


class Page(HTMLParser):
    """What a page of the site leads to, and what in it can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"} and value is not None:
                self.targets.append(value)
            elif name in {"id", "name"} and value is not None:
                self.anchors.add(value)


@cache
def page(path: Path) -> Page:
    return Page(path.read_text())


def is_well_formed(target: str) -> bool:
    """Of a link that leaves this machine, which no test follows."""
    parts = urlsplit(target)
    return parts.scheme == "https" and "." in (parts.hostname or "") and " " not in target


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    lost, inner = [], 0
    for path in sorted(site.glob("**/*.html")):
        for target in page(path).targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if parts.scheme != "data" and not is_well_formed(target):
                    lost.append((path.name, target))
                continue
            inner += 1
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not there.is_file() or (anchor and there.suffix == ".html" and anchor not in page(there).anchors):
                lost.append((path.name, target))
    assert lost == []
    assert inner > 1000


def slugs(text: str) -> set[str]:
    """The anchors that the repository's host gives to headings."""
    headings = re.findall(
        r"^#+ +(.+)$", FENCE.sub(lambda found: found[0].strip("`") if "\n" not in found[0] else "", text), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_between_files_leads_somewhere(path: Path) -> None:
    lost = []
    for found in LINK.finditer(FENCE.sub("", path.read_text())):
        parts = urlsplit(found["target"])
        if parts.scheme:
            there, good = path, is_well_formed(found["target"])
        else:
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            good = there.exists() and there.is_relative_to(ROOT)
        if not good or (not parts.scheme and parts.fragment and parts.fragment not in slugs(there.read_text())):
            lost.append(found["target"])
    assert lost == []


def test_lost_links_are_found(tmp_path: Path) -> None:
    assert Page('<a href="gone.html#x"></a><b id="here">').targets == ["gone.html#x"]
    assert Page('<b id="here">').anchors == {"here"}
    assert slugs("# What `fit` does, in 3 steps\n```\n# no heading\n```\n") == {"what-fit-does-in-3-steps"}
    assert not any(
        map(is_well_formed, ["http://example.org", "https://nowhere", "ftp://example.org/x", "https:/x.org"])
    )
