"""Checkpoints: what is kept of a run, and how."""

from typedloops.checkpoint.distributed import DistributedFormat as DistributedFormat
from typedloops.checkpoint.folder import FolderFormat as FolderFormat
from typedloops.checkpoint.manifest import Manifest as Manifest
from typedloops.checkpoint.sealed import describe as describe
