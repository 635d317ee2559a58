"""Loaders whose type is that of their batches."""

from typedloops.data.batch_loader import BatchLoader as BatchLoader
from typedloops.data.combined_loader import CombinedLoader as CombinedLoader
