"""The loaders of a fit: as they were given, or made by functions, and made anew every n epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, cast

from typing_extensions import TypeVar

from typedloops._core.shapes import is_mapping
from typedloops.errors import ConfigurationError
from typedloops.loops.fit.overfit import first_batches
from typedloops.loops.run.computing.rng import RngStates
from typedloops.loops.run.loaders import as_loaders
from typedloops.loops.run.settings.config import RunConfig
from typedloops.loops.run.sources import is_factory, made_one, made_several
from typedloops.protocols.data import Loaders, LoaderSource, LoadersSource

B = TypeVar("B")


class FitData(Generic[B]):
    """The loaders of a fit.

    Args:
        train: The loader to train on, or what makes one.
        val: The loaders to validate on, or what makes them, or None.
        config: How often they are made, and whether to keep to the first batches.

    Raises:
        ConfigurationError: They are to be made anew, and nothing makes them.
    """

    def __init__(self, train: LoaderSource[B], val: LoadersSource[object] | None, config: RunConfig) -> None:
        self._sources = (train, val)
        self._every = config.reload_dataloaders_every_n_epochs
        self._overfit = config.overfit_batches
        self._loaded_at: int | None = None
        self._drawn: RngStates | None = None
        self._resumed: Mapping[str, object] = {}
        self.train: Iterable[B] = ()
        self.val: Loaders[object] | None = None
        if self._every and not any(map(is_factory, self._sources)):
            raise ConfigurationError(
                "reload_dataloaders_every_n_epochs",
                f"it is {self._every}, and the loaders were given as such, so that nothing can make them anew",
                "Give a function that makes the loader: fit(model, lambda: DataLoader(...)).",
            )

    def state_dict(self) -> dict[str, object]:
        """When loaders were last made, under which random numbers if these were drawn for it, and their generators."""
        from typedloops.loops.run.passes.generators import own, packed, states_of

        if self._loaded_at is None and self._resumed:
            return dict(self._resumed)  # nothing was left to do: a later fit makes them
        return {
            "loaded_at": self._loaded_at,
            "rng": None if self._drawn is None else self._drawn.state_dict(),
            "generators": [packed(states_of(own(loader))) for loader in self._loaders],
        }

    def load_state_of(self, state: object) -> None:
        """Make the loaders as they were made when `state_dict` was taken; None changes nothing."""
        if is_mapping(state) and state["loaded_at"] is not None:
            self._resumed = state

    @property
    def _loaders(self) -> list[object]:
        val = () if self.val is None else as_loaders("validation dataloaders", self.val)
        return [self.train, *val]

    def load(self, epoch: int) -> bool:
        """Have the loaders for this epoch; whether they are others than before."""
        if self._loaded_at is not None and not (self._every and epoch - self._loaded_at >= self._every):
            return False
        resumed, self._resumed = self._resumed, {}
        if is_mapping(states := resumed.get("rng")):
            RngStates(states).restore()  # those of now are put back before anything else is drawn
        self._load(cast("int", resumed.get("loaded_at", epoch)))
        from typedloops.loops.run.passes.generators import own, restore, unpacked

        # A pass that is under way begins again from states of its own.
        generators = cast("Sequence[Mapping[str, object]]", resumed.get("generators", ()))
        for loader, states in zip(self._loaders, generators, strict=False):
            restore("a loader of the fit", own(loader), unpacked(states))
        return True

    def _load(self, epoch: int) -> None:
        train, val = self._sources
        first = self._loaded_at is None
        self._loaded_at = epoch
        if self._overfit or is_factory(train) or is_factory(val):
            self._drawn = RngStates()
        if first or is_factory(train):
            self.train = made_one("train dataloader", train)
            if self._overfit:
                self.train = first_batches("train dataloader", self.train, self._overfit)
        if val is not None and (first or is_factory(val)):
            self.val = made_several("validation dataloaders", val)
