"""What the pure steps need from the outside: a model is named arrays in, named arrays out."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class Model(Protocol):
    """A loaded model. Implementations are safe to call from several threads at once."""

    @property
    def model_id(self) -> str:
        """The id of the manifest entry this model was loaded from."""
        ...

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run one batch; the first axis of every array is the batch.

        Raises `wrong_shape` for inputs the model does not take and `device_error` when the
        device fails.
        """
        ...
