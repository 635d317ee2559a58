"""Loaders whose type is that of their batches, and files of predictions."""

from typedloops.data.batch_loader import BatchLoader as BatchLoader
from typedloops.data.combined_loader import CombinedLoader as CombinedLoader
from typedloops.data.combined_loader import IndexedLoader as IndexedLoader
from typedloops.data.shards import ShardWriter as ShardWriter
from typedloops.data.shards import read_shards as read_shards
