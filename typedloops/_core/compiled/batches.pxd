from typedloops._core.compiled.hooks cimport StopFlag
from typedloops._core.compiled.progress cimport BatchProgress, Processed, ReadyCompleted, Started


cdef class OptimizerStep:
    cdef object training_step
    cdef object zero_grad
    cdef object optimizer_step
    cdef object loss_type
    cdef object loss_of
    cdef object last_loss
    cdef object window
    cdef object clip
    cdef object scaler
    cdef object callee
    cdef object explain
    cdef object optimizer
    cdef Started zero_grad_total
    cdef Started zero_grad_current
    cdef ReadyCompleted step_total
    cdef ReadyCompleted step_current
    cdef object before_zero_grad
    cdef object before_backward
    cdef object after_backward
    cdef object before_optimizer_step

    cdef object take(self, object batch, object batch_idx)
    cdef int add_to_window(self, object output, object batch, object batch_idx) except -1
    cdef int learn(self, object output, object batch) except -1
    cdef int put_grads_away(self) except -1
    cdef int step(self) except -1
    cdef object share_of(self, object loss, object batch)
    cdef object scaled(self, object loss)
    cdef object find_loss(self, object output)
    cdef int differentiate(self, object loss, object share) except -1


cdef class BatchDriver:
    cdef object batches
    cdef object step
    cdef OptimizerStep fused_step
    cdef BatchProgress progress
    cdef StopFlag stop_flag
    cdef StopFlag pause
    cdef public object status
    cdef readonly object last_output
    cdef long long index
    cdef long long length
    cdef long long limit
    cdef long long max_steps
    cdef ReadyCompleted steps
    cdef object transform
    cdef tuple before
    cdef object gate
    cdef list outputs
    cdef object consume
    cdef object after_step
    cdef tuple after
    cdef object on_exhausted
    cdef str source
    cdef object next_batch
    cdef object begun
    cdef bint ended

    cdef object drive(self, long long count)
    cdef bint look_ahead(self) except -1
    cdef object culprit(self, int stage, object listener)
