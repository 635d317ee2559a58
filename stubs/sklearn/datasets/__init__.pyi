"""What the demo, the tests and the benchmarks use of scikit-learn, which ships no types.  Can go when it does."""

from numpy import float64, int64
from numpy.typing import NDArray

class Bunch:
    images: NDArray[float64]
    data: NDArray[float64]
    target: NDArray[int64]

def load_breast_cancer() -> Bunch: ...
def load_digits() -> Bunch: ...
