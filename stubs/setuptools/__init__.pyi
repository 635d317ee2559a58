"""What `setup.py` uses of setuptools, which ships no `py.typed`.  Can go when it does."""

from collections.abc import Mapping, Sequence

from setuptools.command.build_ext import build_ext

class Extension:
    name: str
    sources: list[str]
    optional: bool
    def __init__(self, name: str, sources: Sequence[str], *, extra_compile_args: Sequence[str] | None = None) -> None: ...

def setup(*, ext_modules: Sequence[Extension], cmdclass: Mapping[str, type[build_ext]]) -> object: ...
