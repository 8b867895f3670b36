"""An array whose axes have names: what every library call and every atlas mapping returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class NamedArray:
    """A numpy array with one name per axis and, where they exist, labels along an axis.

    Attributes:
        values: the numbers.
        dims: one name per axis, for instance `("prompt", "layer", "head")`.
        coords: labels of an axis, by axis name; an axis without labels is indexed from 0.
    """

    values: np.ndarray
    dims: tuple[str, ...]
    coords: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim != len(self.dims):
            raise ValueError(f"{self.values.ndim} axes need as many names, found {self.dims}")
        for dim, labels in self.coords.items():
            if dim not in self.dims:
                raise ValueError(f"labels for {dim!r}, which is not one of the axes {self.dims}")
            if len(labels) != self.values.shape[self.dims.index(dim)]:
                raise ValueError(
                    f"axis {dim!r} is {self.values.shape[self.dims.index(dim)]} long, found {len(labels)} labels"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.values.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False and dtype is not None and dtype != self.values.dtype:
            raise ValueError("a change of type needs a copy")
        return np.array(self.values, dtype=dtype, copy=bool(copy)) if copy else np.asarray(self.values, dtype)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]

    def sel(self, **labels: Any) -> NamedArray:
        """Pick one label per named axis and drop these axes.

        Raises:
            KeyError: an axis or a label that is not there.
        """
        values, dims = self.values, list(self.dims)
        for dim, label in labels.items():
            if dim not in dims:
                raise KeyError(f"no axis {dim!r} among {tuple(dims)}")
            axis = dims.index(dim)
            names = list(self.coords[dim]) if dim in self.coords else range(values.shape[axis])
            if label not in names:
                raise KeyError(f"no {label!r} on axis {dim!r}")
            values = np.take(values, names.index(label), axis=axis)
            dims.pop(axis)
        kept = {dim: labels_ for dim, labels_ in self.coords.items() if dim in dims}
        return NamedArray(values, tuple(dims), kept)
