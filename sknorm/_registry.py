"""Tables of named, pluggable parts: a name table that fills itself."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


def unknown_name_message(kind: str, name: object, allowed: Iterable[str]) -> str:
    """One sentence for every unknown name in the library, with a did-you-mean."""
    names = sorted(allowed)
    close = difflib.get_close_matches(str(name).lower(), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"Unknown {kind} {name!r}.{hint} Allowed names: {', '.join(names)}."


class Registry(Mapping[str, T]):
    """A read-only mapping from name to part, filled by :meth:`register`.

    Parameters
    ----------
    kind : str
        What the table holds, in the words of an error message: ``"norm"``.

    Examples
    --------
    >>> from sknorm._registry import Registry
    >>> shapes = Registry("shape")
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes["sqare"]
    Traceback (most recent call last):
        ...
    KeyError: "Unknown shape 'sqare'. Did you mean 'square'? Allowed names: square."
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files a part under ``name`` and returns it."""
        if name in self._parts:
            raise ValueError(f"The {self.kind} {name!r} is registered twice.")

        def file(part: T) -> T:
            self._parts[name] = part
            return part

        return file

    def __getitem__(self, name: str) -> T:
        try:
            return self._parts[name]
        except (KeyError, TypeError):
            message = unknown_name_message(self.kind, name, self._parts)
            raise KeyError(message) from None

    def get_named(
        self, name: str, *, parameter: str, owner: str, beside: Iterable[str] = ()
    ) -> T:
        """Look up a user's string; the error names the parameter it came through.

        Parameters
        ----------
        name : str
            What is looked up.
        parameter, owner : str
            The parameter, and what has it.
        beside : iterable of str, default=()
            Names that are allowed too, and looked up by who calls.

        Raises
        ------
        ValueError
            If the table has no such name.
        """
        if name in self._parts:
            return self._parts[name]
        message = unknown_name_message(self.kind, name, [*self._parts, *beside])
        raise ValueError(f"The {parameter!r} parameter of {owner}: {message}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(sorted(self._parts))})"
