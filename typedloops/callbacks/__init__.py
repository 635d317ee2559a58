"""Things that listen to a run."""

from typedloops.callbacks.base import Callback as Callback
from typedloops.callbacks.module_hooks import ModuleHooks as ModuleHooks
