"""Loading what a run goes on from."""

from __future__ import annotations

import logging

from typedloops.checkpoint import load_weights
from typedloops.errors import CheckpointError
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.saving.module_state import load_weights_into
from typedloops.loops.run.saving.resumption import Resumption
from typedloops.loops.run.saving.sources import IF_ANY, ResumeFrom, found
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.checkpoint import CheckpointFormat
from typedloops.protocols.trainer import Stage

logger: logging.Logger = logging.getLogger("typedloops")


def load(context: RunContext, resume: ResumeFrom, format_: CheckpointFormat) -> int:
    """Let a run that begins go on from a checkpoint, or begin with the weights of one.

    Args:
        context: The run.
        resume: Which checkpoint is meant.
        format_: How checkpoints are kept.

    Returns:
        How many checkpoints the run has had.
    """
    path = found(resume.path, context.listeners.callbacks, format_, exact=resume.exact)
    if path is None:
        _check_begins_anew(context.stage)
        return 0
    if resume.weights and not format_.holds(path):
        load_weights_into(str(path), unwrapped(context.module), load_weights(path))
        return 0
    resumption = Resumption(path, format_.load(path), context.opened_by, exact=resume.exact)
    if resume.weights:
        resumption.load_weights(context)
        return 0
    context.resuming = resumption
    resumption.begin(context)
    about = resumption.about
    logger.info("goes on from %s: epoch %s, optimizer step %s", path, about.get("epoch"), about.get("step"))
    return resumption.order


def _check_begins_anew(stage: Stage) -> None:
    """Let a fit begin anew where there is no checkpoint; weights that nobody has trained are not worth evaluating."""
    if stage is not Stage.FIT:
        raise CheckpointError(
            f"ckpt_path={IF_ANY!r}", f"there is no checkpoint yet for this run of {stage}", "Fit first, or give a path."
        )
    logger.info("there is no checkpoint yet: the fit begins anew")
