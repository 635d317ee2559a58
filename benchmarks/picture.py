"""The comparison as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Panel:
    """The bars of one task; on a logarithmic scale they begin at `least` microseconds, otherwise at zero."""

    task: str
    title: str
    least: float = 0.0


PANELS = (
    Panel("fit", "a step of fit that does nothing", least=0.01),
    Panel("tiny", "a tiny real step of fit"),
    Panel("loop", "an iteration of a loop of one's own"),
)
OWN, OTHERS = "#1f6feb", "#9aa4b2"


def draw(path: Path, seconds: Mapping[str, Mapping[str, float]]) -> None:
    """Draw a bar for each peer and task.

    Args:
        path: Where to write; the suffix says the format.
        seconds: The time of each task, by the name of the peer.
    """
    try:
        from matplotlib import pyplot, rcParams  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        print(f"{path.name} was not drawn: pip install matplotlib")
        return
    rcParams.update({"font.size": 9, "svg.hashsalt": "typedloops", "svg.fonttype": "none"})
    figure, axes_of_panels = pyplot.subplots(len(PANELS), 1, figsize=(7, 7.5), layout="constrained")
    for axes, panel in zip(axes_of_panels, PANELS, strict=True):
        bars = {name: 1e6 * times[panel.task] for name, times in seconds.items() if panel.task in times}
        colors = [OWN if name.startswith("typedloops") else OTHERS for name in bars]
        axes.set_title(panel.title, loc="left")
        axes.set_xlabel("microseconds, logarithmic" if panel.least else "microseconds")
        axes.set_xscale("log" if panel.least else "linear")
        drawn = axes.barh(list(bars), list(bars.values()), color=colors)
        axes.bar_label(drawn, [f" {time:.3g}" for time in bars.values()])
        axes.set_xlim(left=panel.least, right=max(bars.values()) * (3 if panel.least else 1.1))
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})
    pyplot.close(figure)
