# cython: language_level=3, binding=True, auto_pickle=False, autotestdict=False
# cython: embedsignature=True, embedsignature.format=clinic
"""Progress trackers as C integers.  `reference/progress.py` says what each does."""

from types import GenericAlias

from typedloops._core.counting import check_distinct, checked_counters, missing_counter, mixed_trackers, total_and_current, without_last_batch


cdef class ReadyCompleted:
    fields = ("ready", "completed")

    def __init__(self, ready=0, completed=0):
        self._assign({"ready": ready, "completed": completed})

    def _assign(self, values):
        for name, value in checked_counters(type(self).__name__, self.fields, values).items():
            setattr(self, name, value)

    def reset(self):
        for name in self.fields:
            setattr(self, name, 0)

    def reset_on_restart(self):
        for name in self.fields:
            setattr(self, name, self.completed)

    def state_dict(self):
        return {name: getattr(self, name) for name in self.fields}

    def load_state_dict(self, state_dict):
        self._assign(state_dict)

    def __eq__(self, value, /):
        if type(value) is not type(self):
            return NotImplemented
        return self.state_dict() == value.state_dict()

    def __repr__(self):
        counters = ", ".join(f"{name}={getattr(self, name)}" for name in self.fields)
        return f"{type(self).__name__}({counters})"

    def __reduce__(self):
        return restored_tracker, (type(self), self.state_dict()), getattr(self, "__dict__", None)


cdef class Started(ReadyCompleted):
    fields = ("ready", "started", "completed")

    def __init__(self, ready=0, started=0, completed=0):
        self._assign({"ready": ready, "started": started, "completed": completed})


cdef class Processed(Started):
    fields = ("ready", "started", "processed", "completed")

    def __init__(self, ready=0, started=0, processed=0, completed=0):
        self._assign({"ready": ready, "started": started, "processed": processed, "completed": completed})


cdef class Progress:
    default_tracker = Processed

    __class_getitem__ = classmethod(GenericAlias)

    def __cinit__(self, *args, **kwargs):
        # Never None, even in a subclass whose `__init__` forgets this one's: an
        # increment would write through the null pointer.
        self.total = self.default_tracker()
        self.current = self.default_tracker()

    def __init__(self, total=None, current=None):
        if total is None and current is not None:
            total = type(current)()
        if total is not None and current is None:
            current = type(total)()
        if total is not None:
            if type(total) is not type(current) or not isinstance(total, ReadyCompleted):
                raise mixed_trackers(type(self).__name__, total, current)
            check_distinct(type(self).__name__, total, current)
            self.total = total
            self.current = current

    def increment_ready(self):
        self.total.ready += 1
        self.current.ready += 1

    def increment_started(self):
        if not isinstance(self.total, Started):
            raise missing_counter(self, self.total, "started")
        (<Started>self.total).started += 1
        (<Started>self.current).started += 1

    def increment_processed(self):
        if not isinstance(self.total, Processed):
            raise missing_counter(self, self.total, "processed")
        (<Processed>self.total).processed += 1
        (<Processed>self.current).processed += 1

    def increment_completed(self):
        self.total.completed += 1
        self.current.completed += 1

    def reset(self):
        self.total.reset()
        self.current.reset()

    def reset_on_run(self):
        self.current.reset()

    def reset_on_restart(self):
        self.current.reset_on_restart()

    def state_dict(self):
        return {"total": self.total.state_dict(), "current": self.current.state_dict()}

    def load_state_dict(self, state_dict):
        total, current = total_and_current(type(self).__name__, type(self.total), state_dict)
        # In place: whoever counts with these trackers goes on counting with them.
        self.total.load_state_dict(total.state_dict())
        self.current.load_state_dict(current.state_dict())

    def __eq__(self, value, /):
        if type(value) is not type(self):
            return NotImplemented
        return self.total == value.total and self.current == value.current

    def __repr__(self):
        return f"{type(self).__name__}(total={self.total!r}, current={self.current!r})"

    def __reduce__(self):
        return restored, (type(self), self.total, self.current), getattr(self, "__dict__", None)


cdef class BatchProgress(Progress):
    def __init__(self, total=None, current=None, is_last_batch=False):
        super().__init__(total, current)
        if not isinstance(self.total, Processed):
            raise missing_counter(self, self.total, "processed")
        self.is_last_batch = is_last_batch

    def reset(self):
        Progress.reset(self)
        self.is_last_batch = False

    def reset_on_run(self):
        Progress.reset_on_run(self)
        self.is_last_batch = False

    def state_dict(self):
        return {**Progress.state_dict(self), "is_last_batch": self.is_last_batch}

    def load_state_dict(self, state_dict):
        trackers, is_last_batch = without_last_batch(type(self).__name__, state_dict)
        Progress.load_state_dict(self, trackers)
        self.is_last_batch = is_last_batch

    def __eq__(self, value, /):
        if type(value) is not type(self):
            return NotImplemented
        return self.total == value.total and self.current == value.current and self.is_last_batch == value.is_last_batch

    def __repr__(self):
        return f"{type(self).__name__}(total={self.total!r}, current={self.current!r}, is_last_batch={self.is_last_batch})"

    def __reduce__(self):
        return restored, (type(self), self.total, self.current, self.is_last_batch), getattr(self, "__dict__", None)


cdef class DataLoaderProgress(Progress):
    default_tracker = ReadyCompleted


cdef class SchedulerProgress(Progress):
    default_tracker = ReadyCompleted


cdef class CallCounter:
    cdef ReadyCompleted total
    cdef ReadyCompleted current
    cdef bint completed

    def __init__(self, Progress progress not None, completed):
        self.total = progress.total
        self.current = progress.current
        self.completed = completed

    def __call__(self, *args):
        if self.completed:
            self.total.completed += 1
            self.current.completed += 1
        else:
            self.total.ready += 1
            self.current.ready += 1


def restored(cls, total, current, is_last_batch=None):
    """What a pickle or a copy of a progress is built with, past any `__init__` of a subclass."""
    progress = cls.__new__(cls)
    (<Progress?>progress).total = total
    (<Progress?>progress).current = current
    if is_last_batch is not None:
        progress.is_last_batch = is_last_batch
    return progress


def restored_tracker(cls, values):
    """What a pickle or a copy of a tracker is built with, past any `__init__` of a subclass."""
    tracker = cls.__new__(cls)
    (<ReadyCompleted?>tracker)._assign(values)
    return tracker
