cdef class ReadyCompleted:
    cdef public long long ready
    cdef public long long completed


cdef class Started(ReadyCompleted):
    cdef public long long started


cdef class Processed(Started):
    cdef public long long processed


cdef class Progress:
    cdef readonly ReadyCompleted total
    cdef readonly ReadyCompleted current


cdef class BatchProgress(Progress):
    cdef public bint is_last_batch
