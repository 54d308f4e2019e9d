"""Registries of named things, filled by the packages of an entry-point group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from .code import find_class, is_reference, reference
from .errors import AUTHOR_ERRORS, MetarlError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind. Built-ins and plug-ins come in through the same entry-point group.

    A class that is not registered goes by the name `module:Name` or `path/to/file.py:Name`.
    """

    def __init__(self, kind: str, kinds: str, group: str, require: Callable[[object, str], None]) -> None:
        self.kind = kind
        """Singular in messages, such as 'family'."""
        self.kinds = kinds
        """Plural in messages, and the command that lists them."""
        self.group = group
        """Entry-point group; importing its modules registers their things."""
        self.require = require
        """Raises MetarlError for a thing that is not of this kind; it gets the thing and a title for the message."""
        self.broken: dict[str, str] = {}
        """Plug-ins that could not be imported: entry-point value to the error's line."""
        self._items: dict[str, T] = {}
        self._loading = threading.RLock()
        self._loaded, self._complete = False, False

    def add(self, name: str, item: T) -> None:
        """Register `item`. A class that is defined again replaces itself.

        Raises MetarlError if another has the name, and for a name with a colon or a slash.
        """
        if not isinstance(name, str) or not name or ":" in name or "/" in name:
            raise MetarlError(f"{self.kind} name is {name!r}; take a word without ':' and '/'")
        other = self._items.get(name)
        if other is not None and _place(other) != _place(item):
            holder = reference(other) if isinstance(other, type) else repr(other)
            raise MetarlError(f"{self.kind} {name!r} is already registered by {holder}; take another name")
        self._items[name] = item

    def load(self) -> None:
        """Import every plug-in once. One that fails is kept in `broken` and leaves the others usable."""
        if self._complete:
            return
        with self._loading:  # another thread waits until all are there
            if not self._loaded:
                self._loaded = True
                self._import_all()
                self._complete = True

    def _import_all(self) -> None:
        for entry_point in entry_points(group=self.group):
            try:
                entry_point.load()
            except AUTHOR_ERRORS as error:
                self.broken[entry_point.value] = f"{type(error).__name__}: {error}".split("\n", 1)[0]

    def __getitem__(self, name: str) -> T:
        """Return the item called `name`. Raises MetarlError with the nearest name where there is none.

        `name` may be `module:Name` or `path/to/file.py:Name`: the module is imported, and nothing of it is called.
        """
        if is_reference(name):
            found: T = find_class(name)
            self.require(found, f"{self.kind} {name!r}")
            return found
        self.load()
        if name not in self._items:
            broken = "".join(f"; plug-in {value} failed to import: {why}" for value, why in self.broken.items())
            own = f"of your own, write module:Name, or add --import MODULE; see `metarl {self.kinds}`"
            raise MetarlError(
                f"{self.kind} {name!r} is not registered; {did_you_mean(name, self._items)} ({own}){broken}"
            )
        return self._items[name]

    def name_of(self, item: T) -> str:
        """Return the name that `item` is registered under, '' where there is none. Nothing is imported for it."""
        return next((name for name, each in self._items.items() if each is item), "")

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted."""
        self.load()
        return iter(sorted(self._items))


def _place(item: object) -> tuple[str, str]:
    """Return where a class is defined."""
    return getattr(item, "__module__", ""), getattr(item, "__qualname__", repr(item))
