"""All of the state of a run, by path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.state import SavableLoop, collect_state
from typedloops.loops.run.computing.rng import RngStates
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.saving.callback_states import states_of
from typedloops.loops.run.saving.content import named
from typedloops.loops.run.saving.module_state import gradients_of, has_weights, rest_of, weights_of
from typedloops.loops.run.saving.optimization_state import optimization_state, window_states
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.trainer import Stage
from typedloops.verification.flattening import leaves_of
from typedloops.verification.values import Fingerprint, Mismatch, fingerprint, kept, mismatch, same

State: TypeAlias = Mapping[str, object]
"""Values by their path: `module: net.0.weight`, `optimizers: 0/state/3/exp_avg`."""

ABSENT = "nothing"


def state_of(runs: Sequence[RunContext]) -> Iterator[tuple[str, object]]:
    """What runs, each within the one before, are made of now; its tensors are those of the runs themselves.

    Args:
        runs: The outermost first.
    """
    for depth, run in enumerate(runs):
        for part, value in _parts_of(run):
            yield from _below(named(part, depth), leaves_of(value))
    outermost = runs[0]
    yield from _below("loops", _declared(outermost.opened_by))
    for depth, run in enumerate(runs):
        yield from _below(named("callbacks", depth), leaves_of(states_of(run.own_callbacks)))
    yield from _below("rng", generators_now().items())


def generators_now() -> dict[str, Fingerprint]:
    """Where the generators of random numbers are."""
    digests = {name: fingerprint(state).digest for name, state in RngStates().state_dict().items()}
    return {name: Fingerprint(digest, f"the state {digest}") for name, digest in digests.items()}


def kept_state(state: Iterable[tuple[str, object]]) -> State:
    """The state as it is now: it does not change with the run."""
    return {path: kept(value) for path, value in state}


def differences(expected: State, found: Iterable[tuple[str, object]]) -> list[Mismatch]:
    """What is not the same in a state that was kept and one that may be that of a run, in the order of the latter."""
    different: list[Mismatch] = []
    paths: set[str] = set()
    for path, value in found:
        paths.add(path)
        if path not in expected:
            different.append(Mismatch(path, ABSENT, mismatch(path, None, kept(value)).found))
        elif not same(expected[path], now := kept(value)):
            different.append(mismatch(path, expected[path], now))
    missing = [path for path in expected if path not in paths]
    return [*different, *(Mismatch(path, mismatch(path, expected[path], None).expected, ABSENT) for path in missing)]


def _below(part: str, leaves: Iterable[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    return ((f"{part}: {path}", leaf) for path, leaf in leaves if path)


def _parts_of(run: RunContext) -> Iterator[tuple[str, object]]:
    module, optimization = unwrapped(run.module), run.optimization
    rest = rest_of(module)
    yield "module", weights_of(module) if has_weights(module) else {}
    yield "buffers", rest.get("buffers", {})
    yield "metrics", rest.get("metrics", {})
    yield "modes", {name or ".": "eval" for name in cast("list[str]", rest.get("eval", []))}
    yield "frozen", dict.fromkeys(cast("list[str]", rest.get("frozen", [])), True)
    if run.stage is Stage.FIT and not run.fitting:
        return  # what a fit that is over leaves behind in the run around it, nothing goes on with
    state = optimization_state(optimization, module)
    yield "optimizers", _states_in(state["optimizers"])
    yield "schedulers", _states_in(state["schedulers"])
    yield "rates", state["rates"]
    yield "scaler", state["scaler"]
    yield "gradients", gradients_of(module, optimization.optimizers, adds_up=optimization.adds_up)
    is_open = {index for index, window in optimization.windows.items() if window is not None and window.is_open}
    yield "windows", {index: state for index, state in window_states(optimization).items() if index in is_open}


def _states_in(saved: object) -> list[object]:
    return [each["state"] for each in cast("list[dict[str, object]]", saved)]


def _declared(root: LoopNode) -> Iterator[tuple[str, object]]:
    state = collect_state(root) if isinstance(root, SavableLoop) else {}
    loops = cast("Mapping[str, Mapping[str, object]]", state.get("loops", {}))
    for path, parts in loops.items():
        for values in parts.values():
            for name, leaf in leaves_of(values, joint="."):
                if name:
                    yield (name if path == "." else f"{path}.{name}"), leaf
