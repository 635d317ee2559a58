"""The wheel, as a user has it: what is in it, whether it runs, and what type checkers make of it.

It is built from a copy of the sources, installed into an environment of its own, and used from a
folder in which there is nothing of this repository but `good/` and `bad/`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

TYPING = Path(__file__).parent
ROOT = TYPING.parents[1]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "typedloops")
BUILT = shutil.ignore_patterns("*.so", "*.pyd", "*.c", "*.html", "__pycache__")
GOOD = sorted(path.stem for path in (TYPING / "good").glob("*.py"))
EXTENSION_SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
MARKED = "from typing import assert_type\n\nfrom typedloops._mark import here\n\nassert_type(here(), bool)\n"
"""Only right where a checker sees the wheel's package: that one has this module."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel, and an empty folder to use it from."""

    python: Path
    folder: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TYPEDLOOPS", "MYPY"))
        }
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env={**kept, "PATH": path, "VIRTUAL_ENV": str(self.python.parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("typedloops._core.compiled.driver", reason="without a compiler there is no compiled core")
    sources = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        copy = partial(shutil.copytree, ignore=BUILT) if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (sources / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in one place, torch and all the rest in this environment's: no editable install is seen from there."""
    venv, folder = tmp_path_factory.mktemp("venv"), tmp_path_factory.mktemp("empty")
    here = Environment(Path(sys.executable), folder)
    succeed(here.run(sys.executable, "-m", "venv", "--without-pip", venv))
    there = Environment(venv / "bin" / "python", folder)
    packages = Path(
        succeed(there.run(there.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")).strip()
    )
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    succeed(
        here.run(sys.executable, "-m", "pip", "--python", there.python, "install", "--no-deps", "--no-index", wheel)
    )
    (packages / "typedloops" / "_mark.py").write_text("def here() -> bool:\n    return True\n")
    (folder / "marked.py").write_text(MARKED)
    for part in ("good", "bad"):
        shutil.copytree(TYPING / part, folder / "tests" / "typing" / part)
    return there


def test_contents(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    compiled = "typedloops/_core/compiled/"
    modules = {name.removesuffix(".pyx") for name in names if name.endswith(".pyx")}
    assert modules == {f"{compiled}{module}" for module in ("batches", "driver", "hooks", "progress", "transfer")}
    assert {f"{module}{suffix}" for module in modules for suffix in (".pyi", EXTENSION_SUFFIX)} <= names
    assert {f"{compiled}{module}.pxd" for module in ("__init__", "batches", "hooks", "progress")} <= names
    assert {"typedloops/py.typed", "typedloops/__init__.py"} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"typedloops"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    kinds = {Path(name).suffix for name in names if not re.match(r"typedloops-[^/]+\.dist-info/", name)}
    assert kinds == {".py", ".pyi", ".pyx", ".pxd", ".typed", Path(EXTENSION_SUFFIX).suffix}


def test_the_installed_package_is_the_wheel(environment: Environment) -> None:
    script = "import typedloops; print(typedloops.__file__, typedloops.COMPILED)"
    path, compiled = succeed(environment.run(environment.python, "-W", "error", "-c", script)).split()
    assert Path(path).is_relative_to(environment.python.parents[1])
    assert compiled == "True"


def test_what_is_right_runs(environment: Environment) -> None:
    script = f"import importlib\nfor name in {GOOD}: importlib.import_module('tests.typing.good.' + name)"
    succeed(environment.run(environment.python, "-c", script))


def test_mypy(environment: Environment) -> None:
    options = ("--strict", "--explicit-package-bases", "--cache-dir", ROOT / ".mypy_cache" / "wheel")
    target = ("--python-executable", environment.python)
    done = environment.run(sys.executable, "-m", "mypy", *options, *target, "tests", "marked.py")
    assert done.stdout.startswith("Success: "), done.stdout


def test_basedpyright(environment: Environment) -> None:
    options = {
        "include": ["tests", "marked.py"],
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (environment.folder / "pyrightconfig.json").write_text(json.dumps(options))
    answer = environment.run(sys.executable, "-m", "basedpyright", "--pythonpath", environment.python)
    assert answer.stdout.startswith("0 errors"), answer.stdout


def test_every_type_of_the_public_api_is_known(environment: Environment) -> None:
    command = [sys.executable, "-m", "basedpyright", "--verifytypes", "typedloops", "--ignoreexternal"]
    output = succeed(environment.run(*command))
    assert "Type completeness score: 100%" in output
    assert str(environment.python.parents[1]) in output
