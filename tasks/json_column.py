"""A raw JSON column and its typed view."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar, overload

from django.db import models

T = TypeVar("T")


class Decoded(Generic[T]):
    """A typed view of a raw JSON column: decoded when first read, and again when the raw changed.

    Raises ValueError where the column does not hold what it should. Setting it sets the raw column.
    """

    def __init__(self, column: str, decode: Callable[[str], T], encode: Callable[[T, str], str]):
        self.column, self.decode, self.encode = column, decode, encode

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, row: None, owner: type) -> Self: ...
    @overload
    def __get__(self, row: models.Model, owner: type) -> T: ...
    def __get__(self, row: models.Model | None, owner: type) -> Self | T:
        if row is None:
            return self
        raw = getattr(row, self.column)
        cached = row.__dict__.get(self.name)
        if cached is None or cached[0] is not raw:
            cached = row.__dict__[self.name] = (raw, self.decode(raw))
        value: T = cached[1]
        return value

    def __set__(self, row: models.Model, value: T) -> None:
        setattr(row, self.column, self.encode(value, self.name))
