"""The splitters that tests and examples use of scikit-learn, which ships no types.  Can go when it does."""

from collections.abc import Iterator, Sequence

class _Splitter:
    def split(
        self, X: Sequence[object], y: Sequence[object] | None = None, groups: Sequence[object] | None = None
    ) -> Iterator[tuple[Sequence[int], Sequence[int]]]: ...

class KFold(_Splitter):
    def __init__(self, n_splits: int = 5, *, shuffle: bool = False, random_state: int | None = None) -> None: ...

class StratifiedKFold(_Splitter):
    def __init__(self, n_splits: int = 5, *, shuffle: bool = False, random_state: int | None = None) -> None: ...

class GroupKFold(_Splitter):
    def __init__(self, n_splits: int = 5) -> None: ...
