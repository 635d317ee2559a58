"""Things that listen to a run."""

from typedloops.callbacks.base import Callback as Callback
from typedloops.callbacks.model_checkpoint import ModelCheckpoint as ModelCheckpoint
from typedloops.callbacks.module_hooks import ModuleHooks as ModuleHooks
from typedloops.callbacks.progress_bar import ProgressBar as ProgressBar
