"""Checkpoints: what is kept of a run, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typedloops._lazy import lazily

if TYPE_CHECKING:
    from typedloops.checkpoint.copying import Staged as Staged
    from typedloops.checkpoint.copying import Staging as Staging
    from typedloops.checkpoint.copying import copied as copied
    from typedloops.checkpoint.distributed import DistributedFormat as DistributedFormat
    from typedloops.checkpoint.folder import FolderFormat as FolderFormat
    from typedloops.checkpoint.manifest import FileRecord as FileRecord
    from typedloops.checkpoint.manifest import Manifest as Manifest
    from typedloops.checkpoint.migrations import CONTENT_VERSION as CONTENT_VERSION
    from typedloops.checkpoint.migrations import MIGRATIONS as MIGRATIONS
    from typedloops.checkpoint.migrations import Migration as Migration
    from typedloops.checkpoint.migrations import migrated as migrated
    from typedloops.checkpoint.sealed import SealedFolder as SealedFolder
    from typedloops.checkpoint.sealed import describe as describe
    from typedloops.checkpoint.tensors import TensorRecord as TensorRecord
    from typedloops.checkpoint.weights import load_weights as load_weights
    from typedloops.checkpoint.writer import WhenWritten as WhenWritten
    from typedloops.checkpoint.writer import Writer as Writer
else:
    # Imported when first asked for: a run that is not saved needs none of it.
    _HOMES = {
        "copying": (
            "Staged",
            "Staging",
            "copied",
        ),
        "distributed": ("DistributedFormat",),
        "folder": ("FolderFormat",),
        "manifest": (
            "FileRecord",
            "Manifest",
        ),
        "migrations": (
            "CONTENT_VERSION",
            "MIGRATIONS",
            "Migration",
            "migrated",
        ),
        "sealed": (
            "SealedFolder",
            "describe",
        ),
        "tensors": ("TensorRecord",),
        "weights": ("load_weights",),
        "writer": (
            "WhenWritten",
            "Writer",
        ),
    }
    __getattr__, __dir__, __all__ = lazily(__name__, _HOMES)
