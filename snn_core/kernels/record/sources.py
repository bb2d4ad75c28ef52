"""What equations are found by: the code of a class or a function, and the plain values that the code reads by name.

Equations are pure, and read when they are first used, as in ``jax.jit``. So a method or a function that is replaced, as
by an editor's reload, or a number of the class, of the module or of the function around is seen by the next call.
Whatever else equations read is a constant; ``docs/howto/my_neuron.md`` states this contract. Names are looked up where
Python would look; nothing is known of how they are used.
"""

from __future__ import annotations

import sys
from functools import cached_property, lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any
from weakref import ref

import numpy as np

from snn_core.cells import Cell
from snn_core.kernels.record.symbols import NotScalarError
from snn_core.surrogate import SurrogateFunction

#: Values that equations may branch on.
PLAIN = (bool, int, float, str, type(None))

#: Packages in which nobody changes functions, classes and numbers.
_PACKAGES = {*sys.stdlib_module_names, "snn_core", "torch", "numpy"}
#: What members of a class keep their function in.
_WRAPPED = {property: "fget", cached_property: "func", staticmethod: "__func__", classmethod: "__func__"}
#: Questions that a symbol would answer otherwise than a tensor.
_ASKS = {"isinstance", "type", "is_tensor", "is_grad_enabled", "is_inference_mode_enabled"}
#: Stands for something that is neither plain, nor a function, nor part of a package.
_UNKNOWN = object()


class Source:
    """A class or a function as it was when it was read; after a change there is another one.

    It keeps nothing of a user's alive but code and plain values.

    Attributes:
        reason: why its equations fall back to the loop, "" if they do not.
    """

    def __init__(self, root: Any) -> None:
        kinds = getattr(root, "__mro__", ())
        ours = [kind for kind in kinds if kind.__module__.startswith("snn_core.")]
        #: The members of our own classes, and what they were.
        self.members = [vars(kind).values() for kind in ours if kind not in (Cell, SurrogateFunction)]
        self.before = list(map(tuple, self.members))
        #: Where a user's classes are in the order of inheritance, None for a function, and what these read.
        self.own: list[int | None] = (
            [k for k, kind in enumerate(kinds) if not is_fixed(kind)] if kinds else [None]
        )
        self.read = _described(root, self.own)
        asked = {name for one in self.read if type(one) is CodeType for name in _names(one)} & _ASKS
        self.reason = f"its equations ask {', '.join(sorted(asked))}: a symbol is no tensor" if asked else ""

    def key(self, root: Any) -> tuple[Any, ...]:
        """Return what is equal for equal sources."""
        # Functions that read nothing unknown are equal if they read the same, such as a lambda in a loop.
        identity = None if type(root) is FunctionType and _UNKNOWN not in self.read else ref(root)
        return identity, *[tuple(map(id, one)) for one in self.before], *self.read


#: The sources of classes and functions that are alive, and all sources by their keys.
_sources: dict[ref[Any], Source] = {}
_known: dict[tuple[Any, ...], Source] = {}
_MOST_KNOWN = 1024


def source_of(root: Any) -> Source:
    """Return what a class or a function is; the same object as long as nothing has been replaced.

    Raises:
        NotScalarError: its equations fall back to the loop.
    """
    source = _sources.get(ref(root))
    if (
        source is None
        or list(map(tuple, source.members)) != source.before
        or (source.own and _described(root, source.own) != source.read)
    ):
        source = Source(root)
        if len(_known) >= _MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
        source = _sources[ref(root, _forget)] = _known.setdefault(source.key(root), source)
    if source.reason:
        raise NotScalarError(source.reason)
    return source


def _forget(gone: ref[Any]) -> None:
    _sources.pop(gone, None)


def is_plain(value: Any) -> bool:
    """Say whether a value is a number, a string or None, or a tuple of them."""
    kind = type(value)
    return kind in PLAIN or isinstance(value, np.generic) or (kind is tuple and all(map(is_plain, value)))


def is_fixed(value: Any) -> bool:
    """Say whether this is a class, a function or a module of a package in which nobody changes it."""
    if isinstance(value, BuiltinFunctionType) and value.__self__ is not None:
        value = value.__self__
    if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        return (value.__module__ or "").partition(".")[0] in _PACKAGES
    return isinstance(value, ModuleType) and value.__name__.partition(".")[0] in _PACKAGES


def _described(root: Any, places: list[int | None]) -> list[Any]:
    """Return the code of a function, or of a user's classes among those of a class, and what it reads by name."""
    found: list[Any] = []
    seen: dict[FunctionType, int] = {}
    for k in places:
        if k is None:
            _describe(root, root, found, seen)
            continue
        for name, value in root.__mro__[k].__dict__.items():
            if name[:2] != "__":
                value = getattr(value, _WRAPPED.get(type(value), ""), value)
                found.append(name)
                if type(value) is FunctionType:
                    _describe(value, root, found, seen)
                elif is_plain(value):
                    found.append(repr(value))
    return found


def _describe(function: FunctionType, root: Any, found: list[Any], seen: dict[FunctionType, int]) -> None:
    """Append the code of a function, and the values of the names in it, of its closure and of its defaults."""
    code, around = function.__code__, function.__globals__
    names = _names(code)
    seen[function] = len(seen)
    found.append(code)
    values = [(name, around[name]) for name in names if name in around]
    if function.__closure__:
        values += zip(code.co_freevars, map(_contents, function.__closure__), strict=True)
    if function.__defaults__ or function.__kwdefaults__:
        defaults = *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()
        values += [("", value) for value in defaults]
    for name, value in values:  # which grows
        kind = type(value)
        if kind in PLAIN or is_plain(value):
            # Where it has the name of a method, such as step, that is what the code means.
            if not callable(getattr(root, name, None)):
                found += (name, repr(value))  # in which 0.0 is not -0.0, nor 1 True
        elif is_fixed(value):
            found += (name, id(value))
        elif name != "__class__":
            found += (name, seen.get(value) if kind is FunctionType else _UNKNOWN)
            if kind is FunctionType and value not in seen:
                _describe(value, root, found, seen)
            held = {} if "." in name else getattr(value, "__dict__", {})
            values += [(f"{name}.{attribute}", held[attribute]) for attribute in names if attribute in held]


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been assigned to it yet
        return None


@lru_cache(maxsize=1024)
def _names(code: CodeType) -> tuple[str, ...]:
    """Return the names of globals and attributes in code, and in the functions within it."""
    within = [name for one in code.co_consts if isinstance(one, CodeType) for name in _names(one)]
    return tuple(dict.fromkeys((*code.co_names, *within)))
