# cython: language_level=3, binding=True, auto_pickle=False, autotestdict=False
# cython: embedsignature=True, embedsignature.format=clinic
"""One batch after another, compiled.  `reference/batches.py` says what each does."""

from typedloops._core.batch_errors import check_counts, none_batch
from typedloops._core.escape import escaped_from
from typedloops._core.status import BatchStatus

cdef object RUNNING = BatchStatus.RUNNING
cdef object EXHAUSTED = BatchStatus.EXHAUSTED
cdef object LIMIT = BatchStatus.LIMIT
cdef object STOPPED = BatchStatus.STOPPED
cdef object MAX_STEPS = BatchStatus.MAX_STEPS
cdef object SKIPPED = BatchStatus.SKIPPED

cdef object NOTHING = object()


cdef class OptimizerStep:
    def __init__(
        self, training_step, optimizer, zero_grad_progress, step_progress, *, zero_grad, loss_type, loss_of, explain,
        window=None, clip=None, scaler=None, before_zero_grad=None, before_backward=None, after_backward=None, before_optimizer_step=None,
    ):
        self.training_step = training_step
        self.optimizer = optimizer
        self.zero_grad = zero_grad
        self.optimizer_step = optimizer.step
        self.zero_grad_total = zero_grad_progress.total
        self.zero_grad_current = zero_grad_progress.current
        self.step_total = step_progress.total
        self.step_current = step_progress.current
        self.loss_type = loss_type
        self.loss_of = loss_of
        self.explain = explain
        self.window = window
        self.clip = clip
        self.scaler = scaler
        self.before_zero_grad = before_zero_grad or None
        self.before_backward = before_backward or None
        self.after_backward = after_backward or None
        self.before_optimizer_step = before_optimizer_step or None

    def __call__(self, batch, batch_idx):
        try:
            return self.take(batch, batch_idx)
        except StopIteration as stop:
            raise escaped_from(self.callee) from stop

    @property
    def __wrapped__(self):
        return self.training_step

    cdef object take(self, object batch, object batch_idx):
        self.callee = self.training_step
        cdef object output = self.training_step(batch, batch_idx)
        if self.window is None:
            if output is not None:
                self.learn(output, batch)
                self.step()
        else:
            self.add_to_window(output, batch, batch_idx)
        return output

    cdef int add_to_window(self, object output, object batch, object batch_idx) except -1:
        if output is not None:
            self.learn(output, batch)
        if self.window.closes_at(batch_idx) and self.window.close():
            self.step()
        return 0

    cdef int learn(self, object output, object batch) except -1:
        cdef object loss = output if type(output) is self.loss_type else self.find_loss(output)
        # The last loss lives until here: with its graph die the nodes that add up the gradients,
        # and the graph just built would have had to make them anew.
        self.last_loss = loss
        if self.window is None or not self.window.is_open:
            self.put_grads_away()
        if self.before_backward is not None:
            self.callee = self.before_backward
            self.before_backward(loss)
        cdef object share = loss if self.window is None else self.share_of(loss, batch)
        self.differentiate(loss, share if self.scaler is None else self.scaled(share))
        if self.after_backward is not None:
            self.callee = self.after_backward
            self.after_backward()
        return 0

    cdef int put_grads_away(self) except -1:
        self.zero_grad_total.ready += 1
        self.zero_grad_current.ready += 1
        if self.before_zero_grad is not None:
            self.callee = self.before_zero_grad
            self.before_zero_grad(self.optimizer)
        self.zero_grad_total.started += 1
        self.zero_grad_current.started += 1
        if self.zero_grad is None:
            set_grads_to_none(self.optimizer)
        else:
            self.callee = self.zero_grad
            self.zero_grad()
        self.zero_grad_total.completed += 1
        self.zero_grad_current.completed += 1
        return 0

    cdef int step(self) except -1:
        if self.scaler is not None:
            self.callee = self.scaler.unscale
            self.callee()
        if self.before_optimizer_step is not None:
            self.callee = self.before_optimizer_step
            self.before_optimizer_step(self.optimizer)
        if self.clip is not None:
            self.callee = self.clip
            self.clip()
        self.step_total.ready += 1
        self.step_current.ready += 1
        if self.scaler is None:
            self.callee = self.optimizer_step
            self.optimizer_step()
        else:
            self.callee = self.scaler.step
            if not self.callee():
                return 0
        self.step_total.completed += 1
        self.step_current.completed += 1
        return 0

    cdef object share_of(self, object loss, object batch):
        self.callee = self.window.share
        return self.callee(loss, batch)

    cdef object scaled(self, object loss):
        self.callee = self.scaler.scale
        return self.callee(loss)

    cdef object find_loss(self, object output):
        self.callee = self.loss_of
        return self.loss_of(output)

    cdef int differentiate(self, object loss, object share) except -1:
        self.callee = share.backward
        try:
            self.callee()
        except RuntimeError as error:
            self.explain(loss, error)
            raise
        return 0


cdef int set_grads_to_none(object optimizer) except -1:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    return 0


cdef enum Stage:
    FETCH
    TRANSFORM
    BEFORE
    GATE
    STEP
    CONSUME
    AFTER_STEP
    AFTER


cdef class BatchDriver:
    def __init__(
        self, batches, step, BatchProgress progress not None, StopFlag stop_flag not None, *, source, length=None, limit=None, transform=None,
        before=(), gate=None, outputs=None, consume=None, after_step=None, after=(), steps=None, max_steps=None,
        on_exhausted=None, pause=None, begun=None, upcoming=None,
    ):
        check_counts(source, length=length, limit=limit, max_steps=max_steps)
        self.batches = iter(batches)
        self.step = step
        self.fused_step = step if type(step) is OptimizerStep else None
        self.progress = progress
        self.stop_flag = stop_flag
        self.pause = StopFlag() if pause is None else pause
        self.source = source
        self.length = -1 if length is None else length
        self.limit = -1 if limit is None else limit
        self.transform = transform
        self.before = tuple(before)
        self.gate = gate
        self.outputs = outputs
        self.consume = consume
        self.after_step = after_step
        self.after = tuple(after)
        self.steps = steps
        self.max_steps = -1 if max_steps is None or steps is None else max_steps
        self.on_exhausted = on_exhausted
        self.begun = begun
        self.index = progress.current.ready - (begun is not None)
        self.next_batch = NOTHING if upcoming is None else upcoming
        self.ended = False
        self.last_output = None
        self.status = LIMIT if 0 <= self.limit <= self.index else RUNNING

    @property
    def upcoming(self):
        return None if self.next_batch is NOTHING else self.next_batch

    def run(self, long long count=-1):
        self.drive(count)
        if self.status is not RUNNING:
            self.batches = None
            self.next_batch = NOTHING
        return self.status

    cdef object drive(self, long long count):
        cdef BatchProgress progress = self.progress
        cdef Processed total = <Processed?>progress.total
        cdef Processed current = <Processed?>progress.current
        cdef object batches = self.batches
        cdef object step = self.step
        cdef object transform = self.transform
        cdef object gate = self.gate
        cdef object consume = self.consume
        cdef list outputs = self.outputs
        cdef object after_step = self.after_step
        cdef tuple before = self.before
        cdef tuple after = self.after
        cdef long long last = self.limit if 0 <= self.limit < self.length else self.length
        cdef int stage = FETCH
        cdef object batch, batch_idx, output
        cdef object listener = None
        if self.stop_flag.requested:
            self.status = STOPPED
        if self.status is not RUNNING:
            return self.status
        try:
            while count != 0:
                count -= 1
                batch_idx = self.index
                if self.begun is not None:
                    batch, self.begun = self.begun, None
                    # Where a length or the limit tells, the end was not seen, and the loader is asked for it.
                    self.ended = progress.is_last_batch and self.index >= last and self.index + 1 != self.limit
                else:
                    stage = FETCH
                    if self.next_batch is NOTHING:
                        batch = next(batches)
                    else:
                        batch = self.next_batch
                        self.next_batch = NOTHING
                    if batch is None:
                        raise none_batch(self.source, self.index)
                    if self.index < last:
                        progress.is_last_batch = self.index + 1 == last
                    elif self.index + 1 == self.limit:
                        progress.is_last_batch = True
                    else:
                        progress.is_last_batch = self.ended = self.look_ahead()
                    if transform is not None:
                        stage = TRANSFORM
                        batch = transform(batch)
                    total.ready += 1
                    current.ready += 1
                    if before:
                        stage = BEFORE
                        for listener in before:
                            listener(batch, batch_idx)
                    if gate is not None:
                        stage = GATE
                        if is_skip(gate(batch, batch_idx)):
                            self.status = SKIPPED
                            return SKIPPED
                    total.started += 1
                    current.started += 1
                stage = STEP
                # Let go of the last output first: two graphs at a time are slower than one.
                output = self.last_output = None
                if self.fused_step is not None:
                    output = self.fused_step.take(batch, batch_idx)
                else:
                    output = step(batch, batch_idx)
                total.processed += 1
                current.processed += 1
                self.last_output = output
                if outputs is not None:
                    outputs.append(output)
                if consume is not None and output is not None:
                    stage = CONSUME
                    consume(output, batch, batch_idx)
                if after_step is not None:
                    stage = AFTER_STEP
                    after_step()
                if after:
                    stage = AFTER
                    for listener in after:
                        listener(output, batch, batch_idx)
                total.completed += 1
                current.completed += 1
                self.index += 1
                if self.stop_flag.requested:
                    self.status = STOPPED
                elif self.max_steps >= 0 and self.steps.completed >= self.max_steps:
                    self.status = MAX_STEPS
                elif self.index == self.limit:
                    self.status = LIMIT
                elif self.ended:
                    self.status = EXHAUSTED
                elif not self.pause.requested:
                    continue
                return self.status
        except StopIteration as stop:
            if stage == FETCH:
                if self.on_exhausted is not None:
                    self.on_exhausted(stop)
                self.status = EXHAUSTED
            else:
                raise escaped_from(self.culprit(stage, listener)) from stop
        return self.status

    cdef bint look_ahead(self) except -1:
        try:
            self.next_batch = next(self.batches)
            return False
        except StopIteration as stop:
            if self.on_exhausted is not None:
                self.on_exhausted(stop)
            return True

    cdef object culprit(self, int stage, object listener):
        if stage == TRANSFORM:
            return self.transform
        if stage == GATE:
            return self.gate
        if stage == STEP:
            return self.step if self.fused_step is None else self.fused_step.callee
        if stage == CONSUME:
            return self.consume
        if stage == AFTER_STEP:
            return self.after_step
        return listener


cdef bint is_skip(object answer):
    return type(answer) is int and answer == -1
