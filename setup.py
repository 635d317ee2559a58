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

NOT_BUILT = """
******************************************************************************
typedloops: the compiled core could not be built: {error}
typedloops will run on its pure-Python core: the same behaviour, more time per step.
For the compiled core, install a C compiler and the Python headers
(Debian: apt-get install gcc python3-dev; macOS: xcode-select --install) and install again.
******************************************************************************
"""
MODULES = ("progress", "hooks", "driver", "batches", "transfer")


def switch(name: str) -> bool:
    return os.environ.get(f"TYPEDLOOPS_{name}", "") not in ("", "0")


class BuildOrDoWithout(build_ext):
    """Builds the compiled core; where that fails, says so and does without (the extensions are optional)."""

    told = False

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            if not self.told:
                self.told = True
                print(NOT_BUILT.format(error=error), file=sys.stderr)
            raise


def extensions() -> list[Extension]:
    if switch("NO_EXTENSIONS"):
        return []
    from Cython.Build import cythonize

    built = cythonize(
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
    for extension in built:
        extension.optional = True  # set here: cythonize drops it
    return built


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOrDoWithout})
