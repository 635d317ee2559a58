"""What `setup.py` uses of setuptools, which ships no `py.typed`.  Can go when it does."""

from setuptools import Extension

class build_ext:
    extensions: list[Extension]
    def build_extension(self, ext: Extension) -> None: ...
