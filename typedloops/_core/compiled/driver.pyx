# cython: language_level=3, binding=True, auto_pickle=False, autotestdict=False
# cython: embedsignature=True, embedsignature.format=clinic
"""`run_loop`, compiled.  `reference/driver.py` says what it does."""

from typedloops._core.contract import ITERATION as _ITERATION
from typedloops._core.escape import escaped_from


class _Property:
    """Lets a property be named as a bound method is."""

    def __init__(self, loop, name):
        self.__self__ = loop
        self.__name__ = name


def run_loop(loop, base, /, *args, **kwargs):
    cdef object cls = type(loop)
    cdef object current = "skip"
    try:
        if cls.skip is not base.skip and loop.skip:
            current = loop.on_skip
            return current()
        current = loop.reset
        current()
        current = loop.on_run_start
        current(*args, **kwargs)
        if loop.fused and _ITERATION.isdisjoint(loop.__dict__):
            current = loop.advance_all
            current(*args, **kwargs)
        else:
            current = "done"
            iterate(loop, cls, args, kwargs, base)
        loop.restarting = False
        current = loop.on_run_end
        return current()
    except StopIteration as stop:
        raise escaped_from(_Property(loop, current) if isinstance(current, str) else current) from stop


cdef int iterate(object loop, object cls, tuple args, dict kwargs, object base) except -1:
    cdef object done = None
    cdef object start = unless_from(base.on_advance_start, loop.on_advance_start)
    cdef object advance = loop.advance
    cdef object end = unless_from(base.on_advance_end, loop.on_advance_end)
    cdef Py_ssize_t inputs = -1 if kwargs else len(args)
    cdef object first = args[0] if inputs > 0 else None
    cdef object second = args[1] if inputs > 1 else None
    cdef object third = args[2] if inputs > 2 else None
    cdef bint in_iteration = False
    cdef bint iterated = False
    # A property's getter is called without the descriptor machinery in between.
    if type(cls.done) is property:
        done = cls.done.fget
    try:
        while True:
            in_iteration = False
            if done(loop) if done is not None else loop.done:
                return 0
            in_iteration = True
            if start is not None:
                start(*args, **kwargs)
            if inputs == 0:
                advance()
            elif inputs == 1:
                advance(first)
            elif inputs == 2:
                advance(first, second)
            elif inputs == 3:
                advance(first, second, third)
            else:
                advance(*args, **kwargs)
            if end is not None:
                end()
            if not iterated:
                iterated = True
                loop.restarting = False
    except StopIteration:
        if not in_iteration:
            raise
    return 0


cdef object unless_from(object placeholder, object method):
    """`method`, or None when it is the base's, which does nothing."""
    return None if getattr(method, "__func__", None) is placeholder else method
