"""The site in a browser: it is shown, searched and drawn, and asks nothing of any other machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

ALONE = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = ["index.html", "guide/typing.html", "api/trainer.html", "api/fit.html", "design.html", "recipes/index.html"]


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("TYPEDLOOPS_REQUIRE_BROWSER") == "1":
        pytest.fail(f"TYPEDLOOPS_REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        unavailable("playwright is not installed: pip install '.[dev]'")
    program = shutil.which("chromium")
    if program is None:
        unavailable("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ALONE)
        yield started
        started.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Opened:
    """A tab, and what went wrong in it."""

    def __init__(self, tab: Tab, address: str) -> None:
        self.tab = tab
        self.address = address
        self.wrong: list[str] = []
        tab.on("console", lambda said: self._hear(said.type, said.text))
        tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        tab.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        tab.on("response", lambda response: self.wrong.append(response.url) if response.status >= 400 else None)
        tab.on("request", lambda request: self._check_is_here(request.url))

    def _hear(self, kind: str, text: str) -> None:
        # The dots of a name are classes in CSS: the search says that it finds no such place, and shows the top
        # of the page.
        if kind in {"error", "warning"} and not text.startswith("Anchored content block not found."):
            self.wrong.append(text)

    def _check_is_here(self, url: str) -> None:
        if not url.startswith((self.address, "data:")):
            self.wrong.append(f"left the machine: {url}")

    def go(self, page: str) -> Tab:
        self.tab.goto(self.address + page, wait_until="networkidle")
        return self.tab


@pytest.fixture(params=["light", "dark"])
def opened(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=request.param)
    yield Opened(context.new_page(), address)
    context.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_shown(opened: Opened, page: str) -> None:
    tab = opened.go(page)
    assert "typedloops" in tab.title()
    assert tab.locator("h1").count() == 1
    assert tab.locator("h1").first.is_visible()
    assert tab.locator(".sidebar-tree a").count() > 20
    assert opened.wrong == []


def test_what_leaves_the_machine_is_noticed(opened: Opened) -> None:
    tab = opened.go("index.html")
    tab.route("https://example.org/**", lambda route: route.abort())
    tab.evaluate("fetch('https://example.org/font.woff').catch(() => null)")
    assert "left the machine: https://example.org/font.woff" in opened.wrong


def test_light_and_dark_can_be_read(opened: Opened) -> None:
    tab = opened.go("api/fit.html")
    colours = """selector => [
        getComputedStyle(document.querySelector(selector))[selector.includes('svg') ? 'fill' : 'color'],
        getComputedStyle(document.body).backgroundColor].map(text => {
            const [r, g, b] = text.match(/\\d+/g).map(Number).map(x => (x / 255) ** 2.2);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; })"""
    for selector in ("article p", "svg.loops .kind", "svg.loops .note", ".sig-param .n"):
        text, ground = sorted(tab.evaluate(colours, selector))
        assert (ground + 0.05) / (text + 0.05) > 4.5, selector


def test_the_search_finds_it(opened: Opened) -> None:
    tab = opened.go("search.html?q=StopIteration")
    found = tab.locator("#search-results ul.search li a")
    found.first.wait_for()
    assert "EscapedStopIteration" in " ".join(found.all_inner_texts())
    assert opened.wrong == []


def test_pictures_are_drawn(opened: Opened) -> None:
    tab = opened.go("index.html")
    picture = tab.locator("svg.loops").first
    assert picture.locator(".kind").all_text_contents()[:2] == ["FitLoop", "TrainingEpochLoop"]
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] > 200
    assert box["height"] > 200
    rectangles = [rectangle.bounding_box() for rectangle in picture.locator("rect").all()]
    words = [word.bounding_box() for word in picture.locator(".kind").all()]
    for rectangle, word in zip(rectangles, words, strict=True):
        assert rectangle is not None
        assert word is not None
        assert word["x"] + word["width"] < rectangle["x"] + rectangle["width"]
    picture.locator("a", has_text="OptimizerLoop").click()
    tab.wait_for_url("**/api/fit.html#typedloops.OptimizerLoop")
    assert opened.wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_a_narrow_page_does_not_overflow(opened: Opened, page: str) -> None:
    opened.tab.set_viewport_size({"width": 390, "height": 844})
    tab = opened.go(page)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
