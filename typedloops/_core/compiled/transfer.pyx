# cython: language_level=3, binding=True, auto_pickle=False, autotestdict=False
# cython: embedsignature=True, embedsignature.format=clinic
"""Batches brought to where a module computes, compiled.  `reference/transfer.py` says what it does."""

from typedloops._core.moving import move_other


cdef class BatchTransfer:
    cdef object tensor_type
    cdef object device
    cdef object dtype
    cdef object non_blocking

    def __init__(self, tensor_type, device, dtype=None, *, non_blocking=False):
        self.tensor_type = tensor_type
        self.device = device
        self.dtype = dtype
        self.non_blocking = non_blocking

    def __call__(self, batch):
        return self.move(batch)

    cdef object move(self, object part):
        cdef object kind = type(part)
        if kind is self.tensor_type or isinstance(part, self.tensor_type):
            return self.move_tensor(part)
        if kind is list:
            return self.move_list(<list>part)
        if kind is tuple:
            return self.move_tuple(<tuple>part)
        if kind is dict:
            return self.move_dict(<dict>part)
        if part is None or kind is str or kind is int or kind is float or kind is bool or kind is bytes or kind is complex:
            return part
        # It calls back through `__call__`.
        return move_other(part, self.device, self)

    cdef object move_tensor(self, object tensor):
        if self.dtype is not None and tensor.is_floating_point():
            if self.device is None:
                return tensor.to(self.dtype)
            return tensor.to(self.device, self.dtype, self.non_blocking)
        return tensor if self.device is None else tensor.to(self.device, non_blocking=self.non_blocking)

    cdef object move_list(self, list part):
        cdef list moved = None
        cdef object item, new
        cdef Py_ssize_t i
        for i in range(len(part)):
            item = part[i]
            new = self.move(item)
            if new is not item:
                if moved is None:
                    moved = part[:]
                moved[i] = new
        return part if moved is None else moved

    cdef object move_tuple(self, tuple part):
        cdef list moved = None
        cdef object item, new
        cdef Py_ssize_t i
        for i in range(len(part)):
            item = part[i]
            new = self.move(item)
            if new is not item:
                if moved is None:
                    moved = list(part)
                moved[i] = new
        return part if moved is None else tuple(moved)

    cdef object move_dict(self, dict part):
        cdef dict moved = None
        cdef object key, value, new
        for key, value in part.items():
            new = self.move(value)
            if new is not value:
                if moved is None:
                    moved = part.copy()
                moved[key] = new
        return part if moved is None else moved
