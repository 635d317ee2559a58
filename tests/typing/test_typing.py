"""What the type checkers say of the package, of what must be right and of what must be wrong.

`good/` passes both checkers and runs.  In `bad/` each wrong line has the ignore comment of either
checker; both are told to report a comment that ignores nothing, so a line that one of them accepts
is an error as well.  `messages/` has what mypy says word for word.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

TYPING = Path(__file__).parent
ROOT = TYPING.parents[1]
BIN = Path(sys.executable).parent
COMPILED = [f"typedloops._core.compiled.{module}" for module in ("batches", "driver", "hooks", "progress", "transfer")]
GOOD = sorted(path.stem for path in (TYPING / "good").glob("*.py"))
BAD = sorted((TYPING / "bad").glob("*.py"))
MESSAGES = sorted((TYPING / "messages").glob("*.py"))
FEWEST_BAD_LINES = 45

IGNORES_BOTH = re.compile(r"(?P<code>.*\S)  # type: ignore\[[\w, -]+\]  # pyright: ignore\[\w+(, \w+)*\]$")
EXPECTED = re.compile(r"# E: (?P<code>[\w-]+) ~ (?P<text>.+)$")
SAID = re.compile(r"(?P<path>[^:]+):(?P<line>\d+): (error|note): (?P<text>.*?)(  \[(?P<code>[\w-]+)\])?$")

pytestmark = pytest.mark.slow

Said = dict[tuple[Path, int], list[str]]


class Command:
    """A program that runs from the beginning of the tests and is waited for by the test that wants its answer."""

    def __init__(self, log: Path, arguments: Sequence[str | Path]) -> None:
        environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache" / "tests"),
        }
        environment.pop("TYPEDLOOPS_PURE", None)
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def answer(self) -> tuple[int, str]:
        return self.process.wait(), self.log.read_text()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def mypy_files() -> list[str]:
    """What mypy looks at when it is called without arguments."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    files: list[str] = config["tool"]["mypy"]["files"]
    return [name for name in files if (ROOT / name).is_file() or any((ROOT / name).glob("**/*.py*"))]


PYRIGHT = ("-m", "basedpyright", "--outputjson")
STUBTEST = ("--allowlist", TYPING / "stubtest_allowlist.txt", "--mypy-config-file", TYPING / "stubtest.toml")
COMMANDS: dict[str, Sequence[str | Path]] = {
    "mypy": ("-m", "mypy", *mypy_files(), *MESSAGES),
    "stubtest": ("-m", "mypy.stubtest", *COMPILED, *STUBTEST),
    "basedpyright": PYRIGHT,
    "verifytypes": (*PYRIGHT, "--verifytypes", "typedloops", "--ignoreexternal"),
    "good": ("-c", f"import importlib\nfor name in {GOOD}: importlib.import_module('tests.typing.good.' + name)"),
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Command]]:
    logs = tmp_path_factory.mktemp("typing")
    started = {name: Command(logs / name, arguments) for name, arguments in COMMANDS.items()}
    yield started
    for command in started.values():
        command.stop()


@pytest.fixture(scope="module")
def mypy_said(commands: dict[str, Command]) -> Said:
    """The errors of mypy by line, the notes to each among them."""
    _, output = commands["mypy"].answer()
    said: Said = defaultdict(list)
    for line in output.splitlines():
        if found := SAID.match(line):
            code = f"[{found['code']}] " if found["code"] else ""
            said[ROOT / found["path"], int(found["line"])].append(code + found["text"])
        else:
            assert line.startswith(("Found ", "Success: ")), output
    return said


def test_mypy_has_nothing_to_say_of_the_rest(mypy_said: Said) -> None:
    assert [(str(path), line, text) for (path, line), text in mypy_said.items() if path not in MESSAGES] == []


def test_mypy_says_what_is_expected(mypy_said: Said) -> None:
    expected = {
        (path, line): found
        for path in MESSAGES
        for line, text in enumerate(path.read_text().splitlines(), 1)
        if (found := EXPECTED.search(text))
    }
    said = {place: "\n".join(texts) for place, texts in mypy_said.items() if place[0] in MESSAGES}
    assert said.keys() == expected.keys()
    otherwise = {
        place[1]: (wanted[0], said[place])
        for place, wanted in expected.items()
        if f"[{wanted['code']}]" not in said[place] or wanted["text"] not in said[place]
    }
    assert otherwise == {}


def quoted() -> list[tuple[str, str]]:
    """The lines of the typing guide that have errors, each with the beginning of what mypy says."""
    fences = re.findall(r"^```text\n(.+)\nerror: (.+)\n```$", (ROOT / "docs/guide/typing.md").read_text(), re.MULTILINE)
    return [(line, text.removesuffix("...")) for line, text in fences]


def test_mypy_says_what_the_typing_guide_quotes(mypy_said: Said) -> None:
    said: dict[str, list[str]] = defaultdict(list)
    for path in MESSAGES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            said[line.partition("  # E: ")[0]] += mypy_said.get((path, number), [])
    found = quoted()
    assert len(found) > 25
    for line, text in found:
        message, _, code = text.partition("  [")
        start = f"[{code.removesuffix(']')}] {message}" if code else message
        assert any(heard.startswith(start) or (not code and start in heard) for heard in said[line]), (line, text)


def test_basedpyright_has_nothing_to_say(commands: dict[str, Command]) -> None:
    _, output = commands["basedpyright"].answer()
    report = json.loads(output)
    said = report["generalDiagnostics"]
    assert [(found["file"], found["range"]["start"]["line"] + 1, found["message"]) for found in said] == []
    assert report["summary"]["filesAnalyzed"] > len(GOOD) + len(BAD)


def test_every_type_of_the_public_api_is_known(commands: dict[str, Command]) -> None:
    _, output = commands["verifytypes"].answer()
    report = json.loads(output)["typeCompleteness"]
    unknown = [symbol["name"] for symbol in report["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]]
    assert unknown == []
    assert report["completenessScore"] == 1
    assert "typedloops" in [module["name"] for module in report["modules"]]


def test_stubs_of_the_compiled_core_fit_it(commands: dict[str, Command]) -> None:
    pytest.importorskip("typedloops._core.compiled.driver", reason="there is no compiled core")
    returncode, output = commands["stubtest"].answer()
    assert returncode == 0, output


def test_what_is_right_runs(commands: dict[str, Command]) -> None:
    returncode, output = commands["good"].answer()
    assert returncode == 0, output


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_bad_line_is_bad_for_both(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "ignore[" in line]
    assert [line for line in lines if not IGNORES_BOTH.match(line)] == []


def test_there_are_many_distinct_bad_lines() -> None:
    lines = [line for path in BAD for line in path.read_text().splitlines()]
    wrong = {found["code"].strip() for line in lines if (found := IGNORES_BOTH.match(line))}
    assert len(wrong) >= FEWEST_BAD_LINES
