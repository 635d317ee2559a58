# cython: language_level=3, binding=True, auto_pickle=False, autotestdict=False
# cython: embedsignature=True, embedsignature.format=clinic
"""`run_loop`, compiled.  `reference/driver.py` says what it does."""

from cpython.object cimport PyObject

from types import MethodType

from typedloops._core.contract import ITERATION as _ITERATION
from typedloops._core.escape import escaped_from


cdef extern from "Python.h":
    ctypedef object (*vectorcallfunc)(PyObject *function, PyObject **args, size_t count, PyObject *names)
    ctypedef struct PyTupleObject:
        PyObject **ob_item
    vectorcallfunc PyVectorcall_Function(object function)
    object PyObject_Vectorcall(PyObject *function, PyObject **args, size_t count, PyObject *names)


class _Property:
    """Lets a property be named as a bound method is."""

    def __init__(self, loop, name):
        self.__self__ = loop
        self.__name__ = name


cdef class Iterations:
    cdef public long completed
    cdef public bint running
    cdef public bint unfinished

    def __init__(self, long completed=0, bint unfinished=False):
        self.completed = completed
        self.running = False
        self.unfinished = unfinished

    def __reduce__(self):
        return Iterations, (self.completed, self.unfinished)


def run_loop(loop, base, /, *args, **kwargs):
    cdef object cls = type(loop)
    cdef object current = "skip"
    cdef Iterations iterations = None
    try:
        if cls.skip is not base.skip and loop.skip:
            current = loop.on_skip
            return current()
        iterations = begin(loop)
        current = loop.reset
        current()
        current = loop.on_run_start
        current(*args, **kwargs)
        if loop.fused and _ITERATION.isdisjoint(loop.__dict__):
            current = loop.advance_all
            current(*args, **kwargs)
        else:
            current = "done"
            iterate(loop, cls, iterations, args, kwargs, base)
        loop.restarting = False
        current = loop.on_run_end
        result = current()
        iterations.unfinished = False
        return result
    except StopIteration as stop:
        escaped = escaped_from(_Property(loop, current) if isinstance(current, str) else current)
        loop.tell_where(escaped)
        raise escaped from stop
    except Exception as error:
        loop.tell_where(error)
        raise
    finally:
        if iterations is not None:
            iterations.running = False


cdef Iterations begin(object loop):
    # Not by its `__dict__`: Python keeps the attributes of an object faster as long as nobody has asked for that.
    cdef object found = loop._iterations
    cdef Iterations iterations
    if type(found) is not Iterations:
        iterations = Iterations()
        loop._iterations = iterations
    else:
        iterations = <Iterations>found
        if not loop.restarting:
            iterations.completed = 0
    iterations.running = iterations.unfinished = True
    return iterations


cdef int iterate(object loop, object cls, Iterations iterations, tuple args, dict kwargs, object base) except -1:
    cdef object start = unless_from(base.on_advance_start, loop.on_advance_start)
    cdef object end = unless_from(base.on_advance_end, loop.on_advance_end)
    cdef _Call begin = None if start is None else _Call(start, args, kwargs)
    cdef _Call advance = _Call(loop.advance, args, kwargs)
    cdef _Call finish = None if end is None else _Call(end, (), {})
    # A property's getter is called without the descriptor machinery in between.
    cdef _Call done = _Call(cls.done.fget, (loop,), {}) if type(cls.done) is property else None
    cdef bint in_iteration = False
    cdef bint iterated = False
    try:
        while True:
            in_iteration = False
            if done is None:
                if loop.done:
                    return 0
            elif done.make():
                return 0
            in_iteration = True
            if begin is not None:
                begin.make()
            advance.make()
            if finish is not None:
                finish.make()
            iterations.completed += 1
            if not iterated:
                iterated = True
                loop.restarting = False
    except StopIteration:
        if not in_iteration:
            raise
    return 0


cdef class _Call:
    """A call that is made again and again: what to enter and what to hand over are worked out once.

    Left to Cython, each call would take a bound method apart anew and look for the way in.
    """

    cdef tuple held
    cdef vectorcallfunc enter
    cdef PyObject *function
    cdef PyObject **values
    cdef size_t positional
    cdef PyObject *names

    def __init__(self, function, tuple args, dict kwargs):
        if type(function) is MethodType:
            args = (function.__self__, *args)
            function = function.__func__
        values, names = (*args, *kwargs.values()), tuple(kwargs)
        self.held = (function, values, names)
        self.enter = PyVectorcall_Function(function)
        if self.enter is NULL:
            self.enter = PyObject_Vectorcall
        self.function = <PyObject*>function
        self.values = (<PyTupleObject*>values).ob_item
        self.positional = len(args)
        self.names = <PyObject*>names if kwargs else NULL

    cdef inline object make(self):
        return self.enter(self.function, self.values, self.positional, self.names)


cdef object unless_from(object placeholder, object method):
    """`method`, or None when it is the base's, which does nothing."""
    return None if getattr(method, "__func__", None) is placeholder else method
