"""The trainer: configuration, and the four entry points."""

from typedloops.trainer.trainer import Trainer as Trainer
