# cython: language_level=3, binding=True, auto_pickle=False, autotestdict=False
# cython: embedsignature=True, embedsignature.format=clinic
"""Frozen listeners.  `reference/hooks.py` says what each does."""

from typedloops._core.escape import escaped_from


cdef class Hook:
    def __init__(self, name, listeners):
        self.name = name
        self.listeners = tuple(listeners)

    def __call__(self, *args):
        cdef object listener = None
        try:
            for listener in self.listeners:
                listener(*args)
        except StopIteration as stop:
            raise escaped_from(listener) from stop

    def __len__(self):
        return len(self.listeners)

    def __repr__(self):
        return f"Hook({self.name!r}, {len(self.listeners)} listeners)"


cdef class StopFlag:
    def __init__(self):
        self.requested = False

    def __repr__(self):
        return f"StopFlag(requested={self.requested})"
