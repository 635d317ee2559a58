"""What a type checker must refuse of checkpoints."""

from __future__ import annotations

from tests.typing.good.models import Classifier, batches
from typedloops import Trainer, TrainerView
from typedloops.callbacks import ModelCheckpoint

model, data, trainer = Classifier(), batches(), Trainer()

trainer.fit(model, data, ckpt_path=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.fit(model, data, ckpt_path="last", exact="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.validate(model, data, ckpt_path=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.predict(model, data, ckpt_path=b"here")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.save_checkpoint(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.save_checkpoint("here", when_written=lambda: None)  # type: ignore[misc, arg-type]  # pyright: ignore[reportArgumentType]
trainer.load_checkpoint(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ModelCheckpoint("runs", mode="most")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ModelCheckpoint("runs", save_last="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ModelCheckpoint()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class NoFormat:
    def save(self, path: str, content: dict[str, object]) -> None: ...


Trainer(checkpoint_format=NoFormat())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Wrong:
    def on_save_checkpoint(self, trainer: TrainerView, module: Classifier) -> None: ...


Trainer(callbacks=[Wrong()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
