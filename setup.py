"""The compiled core and the switches of its build; everything else is in pyproject.toml.

Switches, read from the environment:

- `TYPEDLOOPS_NO_EXTENSIONS=1`: build without the compiled core.
- `TYPEDLOOPS_DEBUG=1`: no optimization, debug symbols.
- `TYPEDLOOPS_ANNOTATE=1`: leave Cython's annotated HTML beside each `.pyx`.
"""

from __future__ import annotations

import os
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError

MODULES = ("progress", "hooks", "driver", "batches")


def switch(name: str) -> bool:
    return os.environ.get(f"TYPEDLOOPS_{name}", "") not in ("", "0")


class BuildOrDoWithout(build_ext):
    """Builds the compiled core; without a working C compiler, says so and leaves it out."""

    def run(self) -> None:
        try:
            super().run()
        except (BaseError, OSError) as error:
            banner = "*" * 78
            print(
                f"{banner}\ntypedloops: the compiled core could not be built: {error}\n"
                "typedloops will run on its pure-Python core: the same behaviour, more time per step.\n"
                "For the compiled core, install a C compiler and the Python headers\n"
                "(Debian: apt-get install gcc python3-dev; macOS: xcode-select --install) and install again.\n"
                f"{banner}",
                file=sys.stderr,
            )
            self.extensions = []


def extensions() -> list[Extension]:
    if switch("NO_EXTENSIONS"):
        return []
    from Cython.Build import cythonize

    return cythonize(
        [
            Extension(
                f"typedloops._core.compiled.{module}",
                [f"typedloops/_core/compiled/{module}.pyx"],
                extra_compile_args=["-O0", "-g"] if switch("DEBUG") else ["-O3"],
            )
            for module in MODULES
        ],
        annotate=switch("ANNOTATE"),
        build_dir="build/cython",
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOrDoWithout})
