"""A fit that is written down hook by hook, saved in the middle of it, left, and gone on with."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import typedloops
from typedloops import Callback
from typedloops.loops.run.computing.rng import RngStates

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

OF_BATCHES = tuple(f"on_{stage}_batch_{when}" for stage in ("train", "validation") for when in ("start", "end"))
WITHIN = (
    *OF_BATCHES,
    "on_train_epoch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_validation_start",
    "on_validation_epoch_start",
    "on_validation_epoch_end",
    "on_validation_end",
    "on_train_epoch_end",
)
"""The hooks of what is under way: in an interrupted fit they are called as in one that is not."""

OF_RUNS = (
    *("setup", "on_fit_start", "on_sanity_check_start", "on_sanity_check_end"),
    *("on_train_start", "on_train_end", "on_fit_end"),
)
"""The hooks of the run itself, which each process calls."""

OWN = ("since_validation", "elapsed", "written", "order")
"""What each process has of its own in a checkpoint: times, and how many checkpoints there were before."""


@dataclass
class Parts:
    """What a fit is made of; made anew for each process.

    Args:
        module: What is fitted.
        loaders: What `fit` is given besides.
        settings: The trainer's.
        rearrange: Changes the trainer's tree of loops.
        extra: Further callbacks.
    """

    module: Any
    loaders: Sequence[Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rearrange: Callable[[Any], object] = lambda trainer: None
    extra: Sequence[Any] = ()


Make = Callable[[], Parts]


class Left(Exception):
    """The process is gone."""


class Journal(Callback):
    """Writes down each hook, logs something in most of them, and does what it is told at each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.calls = 0
        self.seen = 0
        self.act: Act = lambda trainer, journal, hook: None

    def happen(self, hook: str, trainer: Any, args: Sequence[Any]) -> None:
        self.calls += 1
        if hook not in OF_RUNS and not trainer.sanity_checking:
            self.seen += 1
            self._log(hook, trainer)
            self.lines.append(f"{hook} {self._detail(hook, args)} {self._state(trainer)}")
        self.act(trainer, self, hook)

    def _log(self, hook: str, trainer: Any) -> None:
        if hook in OF_BATCHES:
            trainer.log(f"{hook} so far", float(self.seen), reduce="mean", batch_size=1 + self.seen % 3)
        elif hook in WITHIN and hook != "on_validation_end":
            trainer.log(f"{hook} at", float(self.seen))

    def _detail(self, hook: str, args: Sequence[Any]) -> str:
        if hook in ("on_before_optimizer_step", "on_before_zero_grad"):
            return ""
        return f"{[each for each in args if isinstance(each, int)]} {fingerprint(args)}"

    def _state(self, trainer: Any) -> str:
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        metrics = fingerprint(sorted(trainer.metrics.items()))
        return f"epoch {trainer.current_epoch} step {trainer.global_step} rates {rates} metrics {metrics}"

    def state_dict(self) -> dict[str, object]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


Act = Callable[[Any, Journal, str], object]
"""What is done in each hook, which has been noted: given the trainer, the journal, and the hook's name."""


@cache
def journal_type(outputs: bool) -> type[Journal]:
    """A journal that listens to all hooks, with or without those for which outputs are kept."""

    def hook(name: str) -> Callable[..., None]:
        def listen(self: Journal, trainer: object, module: object, *args: Any) -> None:
            self.happen(name, trainer, args)

        return listen

    of_outputs = ("training_epoch_end", "validation_epoch_end") if outputs else ()
    return type("Listener", (Journal,), {name: hook(name) for name in (*WITHIN, *OF_RUNS, *of_outputs)})


def fingerprint(value: object) -> str:
    """A checksum of all tensors and numbers in it."""
    return f"{zlib.crc32(b'|'.join(_bytes_in(value))):08x}"


def _bytes_in(value: object) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield repr(key).encode()
            yield from _bytes_in(item)
    elif isinstance(value, (list, tuple)):
        yield str(len(value)).encode()
        for item in value:
            yield from _bytes_in(item)
    else:
        yield repr(value).encode()


class Log:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.values: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.values.append((step, dict(metrics)))

    def finalize(self, status: str) -> None:
        """Nothing is open."""


@dataclass
class Process:
    """One process of a fit: what happened in it, and what it came to.

    Args:
        journal: The hooks.
        log: What was logged.
        end: Its state at the end by part; empty if it was left.
        trainer: What ran it.
    """

    journal: Journal
    log: Log
    trainer: Any
    end: dict[str, object] = field(default_factory=dict)


def run(
    make: Make,
    *,
    seed: int = 1,
    resume: Path | None = None,
    act: Act | None = None,
    outputs: bool = False,
) -> Process:
    """Fit in what could be a process of its own: everything is made anew.

    Args:
        make: What the fit is made of.
        seed: Under which seed; one that goes on is given another one than the first.
        resume: The checkpoint to go on from, or None.
        act: Called in each hook; when it raises `Left`, the process is gone.
        outputs: Whether somebody wants the outputs of whole epochs.
    """
    torch.manual_seed(seed)
    parts = make()
    journal, log = journal_type(outputs)(), Log()
    if act is not None:
        journal.act = act
    trainer = Trainer(callbacks=[journal, *parts.extra], loggers=[log], **parts.settings)
    parts.rearrange(trainer)
    process = Process(journal, log, trainer)
    if resume is not None:
        torch.manual_seed(seed + 1000)
    try:
        result = trainer.fit(parts.module, *parts.loaders, ckpt_path=resume)
    except Left:
        return process
    process.end = end_of(parts, result, journal)
    return process


def end_of(parts: Parts, result: object, journal: Journal) -> dict[str, object]:
    module = parts.module
    return {
        "weights": dict(module.state_dict()),
        "buffers": dict(module.named_buffers()),
        "modes": [part.training for part in module.modules()],
        "frozen": [parameter.requires_grad for parameter in module.parameters()],
        "optimizers": [thing.state_dict() for thing in module.made],
        "result": vars(result),
        "rng": RngStates().state_dict(),
        "seen": journal.seen,
    }


def quiet(make: Make, **arguments: Any) -> Process:
    """`run`, without the warnings that the fit gives whether or not it is interrupted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run(make, **arguments)


def differences(one: object, other: object, where: str = "") -> list[str]:
    """The places where two states are not the same, to the bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        same = fingerprint(one) == fingerprint(other)
        return [] if same else [f"{where}: {one.flatten()[:3]} and {other.flatten()[:3]}"]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if list(one) != list(other) and set(one) != set(other):
            return [f"{where}: keys {sorted(set(map(str, one)) ^ set(map(str, other)))}"]
        return [line for key in one for line in differences(one[key], other[key], f"{where}/{key}") if key not in OWN]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and type(one) is type(other):
        if len(one) != len(other):
            return [f"{where}: {len(one)} and {len(other)} items"]
        return [
            line for i, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{where}/{i}")
        ]
    if {one, other} == {"begun", "batch"}:
        return []  # between two batches either way, whether or not it was saved there before
    return [] if repr(one) == repr(other) else [f"{where}: {one!r:.80} and {other!r:.80}"]


def changes(whole: Process, processes: Sequence[Process], before: Sequence[str] = ()) -> list[str]:
    """What is not as in an uninterrupted fit: the hooks, the logged values, the end.

    Args:
        whole: The uninterrupted fit.
        processes: Those that did the same together; of all but the last all hooks count, for they were left when
            their checkpoint was on the disk.
        before: Hooks that count before those.
    """
    lines = [*before, *(line for process in processes for line in process.journal.lines)]
    pairs = enumerate(zip_longest(whole.journal.lines, lines))
    first = next((f"hook {number}: {one} and {other}" for number, (one, other) in pairs if one != other), None)
    logged, last = whole.log.values, processes[-1].log.values
    return [
        *([] if first is None else [first]),
        *differences(logged[len(logged) - len(last) :], last, "log"),
        *differences(whole.end, processes[-1].end, "end"),
    ]
