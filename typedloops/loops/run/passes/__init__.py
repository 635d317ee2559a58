"""Passes through loaders: where one is can be saved, and it can be begun again there."""

from typedloops.loops.run.passes.loader_pass import LoaderPass as LoaderPass
from typedloops.loops.run.passes.resumable import ResumableLoader as ResumableLoader
from typedloops.loops.run.passes.resumable import ResumablePass as ResumablePass
