"""What `setup.py` uses of Cython, whose `cythonize` has no annotations.  Can go when it has."""

from collections.abc import Sequence

from setuptools import Extension

def cythonize(module_list: Sequence[Extension], *, annotate: bool = False, build_dir: str | None = None) -> list[Extension]: ...
