"""Compares typedloops with its peers: the same tasks, each peer in a process of its own.

    python benchmarks/compare.py [--rounds 5]      # writes benchmarks/results/
    python benchmarks/compare.py --install         # sets up the peers that need an environment of their own

In each round every peer has its turn, and the least time of all rounds counts.  What a
peer is asked to do stands in its file in `benchmarks/peers/`, the tasks in `measure.py`
there.  A peer that is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

from benchmarks.machine import machine
from benchmarks.picture import draw

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TORCH = "torch==2.13.0"

TASKS = {
    "fit": "null fit",
    "validate": "null validate",
    "predict": "null predict",
    "tiny": "tiny real step",
    "loop": "own loop",
    "counting": "own loop, counting",
}


class Measured(TypedDict):
    """What a peer's process prints."""

    versions: dict[str, str]
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Peer:
    """Something to compare with.

    Args:
        name: What to call it.
        file: Its file in `peers/`.
        package: The package whose version is shown, or None.
        own_environment: What to install for it, where it cannot share an environment with the others.
        settings: Environment variables for its process.
    """

    name: str
    file: str
    package: str | None = None
    own_environment: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def folder(self) -> Path:
        return HERE / ".peers" / self.file

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python" if self.own_environment else Path(sys.executable)

    @property
    def task(self) -> str:
        """What its file says that it does."""
        return ast.get_docstring(ast.parse((HERE / "peers" / f"{self.file}.py").read_text())) or ""


PEERS = (
    Peer("by hand", "bare"),
    Peer("typedloops", "typedloops_trainer"),
    Peer("typedloops, pure Python", "typedloops_trainer", settings={"TYPEDLOOPS_PURE": "1"}),
    Peer("Ignite", "ignite_engine", "pytorch-ignite"),
    Peer("torchtnt", "torchtnt_units", "torchtnt", (TORCH, "torchtnt==0.2.4", "setuptools<81")),
    Peer("Lightning 2", "lightning_trainer", "lightning"),
    Peer("Lightning 1", "lightning_1_loop", "pytorch-lightning", (TORCH, "pytorch-lightning==1.9.5", "setuptools<81")),
)


def install(peer: Peer) -> None:
    """Set up an environment of its own."""
    venv.create(peer.folder, with_pip=True)
    subprocess.run([peer.python, "-m", "pip", "install", *peer.own_environment], check=True)


def run(peer: Peer) -> Measured | None:
    """Let a peer measure itself in a new process; None when it is not installed."""
    if not peer.python.exists():
        return None
    command: list[str | Path] = [peer.python, "-W", "ignore", "-m", f"benchmarks.peers.{peer.file}"]
    done = subprocess.run(command, cwd=HERE.parent, env={**os.environ, **peer.settings}, capture_output=True, text=True)
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(f"{peer.name} failed:\n{done.stderr}")
    return cast("Measured", json.loads(done.stdout.splitlines()[-1]))


def least(turns: Sequence[Measured]) -> Measured:
    """The least time for each task."""
    seconds = {task: min(turn["seconds"][task] for turn in turns) for task in turns[0]["seconds"]}
    return {"versions": turns[0]["versions"], "seconds": seconds}


def compare(rounds: int) -> dict[Peer, Measured]:
    """Give every peer its turn in every round."""
    turns: dict[str, list[Measured]] = {peer.name: [] for peer in PEERS}
    for number in range(rounds):
        for peer in PEERS:
            print(f"round {number + 1} of {rounds}: {peer.name}", flush=True)
            if (measured := run(peer)) is not None:
                turns[peer.name].append(measured)
    for peer in PEERS:
        if not turns[peer.name]:
            print(f"{peer.name} is not installed and was left out; see benchmarks/README.md")
    return {peer: least(turns[peer.name]) for peer in PEERS if turns[peer.name]}


def table(results: Mapping[Peer, Measured]) -> list[str]:
    """Microseconds for one batch or one iteration."""
    lines = [f"| | version | {' | '.join(TASKS.values())} |", f"|---|---|{'---:|' * len(TASKS)}"]
    for peer, measured in results.items():
        version = measured["versions"].get(peer.package or "", "")
        cells = (_microseconds(measured["seconds"].get(task)) for task in TASKS)
        lines.append(f"| {peer.name} | {version} | {' | '.join(cells)} |")
    return lines


def factors(results: Mapping[Peer, Measured]) -> list[str]:
    """How many times as long each takes as typedloops."""
    own = next(measured["seconds"] for peer, measured in results.items() if peer.name == "typedloops")
    lines = [f"| times typedloops | {' | '.join(TASKS.values())} |", f"|---|{'---:|' * len(TASKS)}"]
    for peer, measured in results.items():
        seconds = measured["seconds"]
        cells = (f"{seconds[task] / own[task]:.3g}" if task in seconds else "" for task in TASKS)
        lines.append(f"| {peer.name} | {' | '.join(cells)} |")
    return lines


def _microseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e6 * seconds:.3g}" if seconds >= 1e-5 else f"{1e6 * seconds:.3f}"


@dataclass(frozen=True)
class Target:
    """How many times as long a peer's task should take as one of typedloops."""

    peer: str
    task: str
    own_task: str
    factor: float


TARGETS = (
    Target("Ignite", "fit", "fit", 50),
    Target("Lightning 2", "fit", "fit", 1000),
    Target("Lightning 2", "validate", "validate", 1000),
    Target("Lightning 2", "predict", "predict", 1000),
    Target("Lightning 1", "counting", "loop", 8),
)


def verdicts(results: Mapping[Peer, Measured]) -> list[str]:
    """The targets that name a peer."""
    seconds = {peer.name: measured["seconds"] for peer, measured in results.items()}
    lines = ["| target | times typedloops, at least | measured |", "|---|---:|---:|"]
    for target in TARGETS:
        if target.peer in seconds:
            measured = seconds[target.peer][target.task] / seconds["typedloops"][target.own_task]
            what = f"{target.peer}, {TASKS[target.task]}, against {TASKS[target.own_task]}"
            verdict = "" if measured >= target.factor else " (missed)"
            lines.append(f"| {what} | {target.factor:g} | {measured:.3g}{verdict} |")
    return lines


HOW = """\
Microseconds for one batch or one iteration: the least of {rounds} rounds, in each of which every peer had its turn in a
new process. What a run costs once is left out. Where a cell is empty, the peer has no such thing, or it is the same as
another."""


def page(results: Mapping[Peer, Measured], rounds: int) -> str:
    """The comparison as Markdown."""
    asked = [f"- **{peer.name}**: {' '.join(peer.task.split())}" for peer in results]
    return "\n".join(
        [
            "# Comparison with peers",
            "",
            f"Measured {machine()}.",
            "",
            HOW.format(rounds=rounds),
            "",
            *table(results),
            "",
            *factors(results),
            "",
            *verdicts(results),
            "",
            "![The same as a picture](comparison.svg)",
            "",
            "What was asked of each:",
            "",
            *asked,
            "",
            "The tasks are described in `benchmarks/peers/measure.py`. To repeat: `python benchmarks/compare.py`.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare typedloops with its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="how many turns every peer has")
    parser.add_argument("--install", action="store_true", help="set up the peers that need an environment of their own")
    arguments = parser.parse_args()
    if arguments.install:
        for peer in PEERS:
            if peer.own_environment:
                install(peer)
        return
    results = compare(arguments.rounds)
    text = page(results, arguments.rounds)
    print(f"\n{text}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "comparison.md").write_text(text)
    draw(RESULTS / "comparison.svg", {peer.name: measured["seconds"] for peer, measured in results.items()})


if __name__ == "__main__":
    main()
