cdef class Hook:
    cdef readonly str name
    cdef readonly tuple listeners


cdef class StopFlag:
    cdef public bint requested
