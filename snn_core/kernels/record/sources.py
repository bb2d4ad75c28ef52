"""What equations are found by: the code of a class or a function, and the plain values that the code reads by name.

Equations are pure, and read when they are first used, as in ``jax.jit``. So a method or a function that is replaced, as
by an editor's reload, or a number of the class, of the module or of the function around is seen by the next call.
Whatever else equations read is a constant; ``docs/howto/my_neuron.md`` states this contract. Names are looked up where
Python would look; nothing is known of how they are used.
"""

from __future__ import annotations

import sys
from functools import cached_property, lru_cache
from operator import attrgetter, is_
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
#: What members of a class keep their function in; of the last two the class itself gives the function.
_WRAPPED = {property: "fget", cached_property: "func", staticmethod: "__func__", classmethod: "__func__"}
#: Special methods that equations may call.
_CALLED = "__call__", "__getattr__", "__getattribute__"
#: Questions that a symbol would answer otherwise than a tensor.
_ASKS = {"isinstance", "type", "is_tensor", "is_grad_enabled", "is_inference_mode_enabled"}
#: Stands for something that is neither plain, nor a function, nor part of a package.
_UNKNOWN = object()


class Source:
    """A class or a function as it was when it was read; after a change there is another one.

    It keeps nothing of a user's alive but code and plain values.

    Attributes:
        reason: why its equations take the loop, "" if they do not.
    """

    def __init__(self, root: Any) -> None:
        #: The members of our own classes, and what they were.
        self.ours: list[tuple[Any, tuple[Any, ...]]] = []
        #: Of a user's classes: the place in the order of inheritance, the number of members, how to look up the code
        #: of functions and the plain values among them, and what these were.
        self.own: list[tuple[int, int, Any, tuple[Any, ...]]] = []
        #: How to look up functions that read more than their arguments: the place of the class, and the function.
        self.readers: list[tuple[int, Any]] = []
        self.reason = ""
        for k, kind in enumerate(getattr(root, "__mro__", ())):
            members = vars(kind)
            if kind.__module__.startswith("snn_core."):
                if kind not in (Cell, SurrogateFunction):  # nobody changes these
                    self.ours.append((members.values(), tuple(members.values())))
            elif not is_fixed(kind):
                paths = ["__module__"]  # so that there is one
                for name, value in members.items():
                    if name[:2] != "__" or name in _CALLED:
                        paths += self._paths(root, k, name, value)
                getter = attrgetter(*paths, "__doc__")
                self.own.append((k, len(members), getter, getter(kind)))
                if members.get("__slots__"):
                    self.reason = "it has slots: kernels read fields from __dict__"
        #: All that they read, see :func:`_describe`.
        self.read = self._read(root)
        code = [one for *_, before in self.own for one in before] + self.read
        asked = {name for one in code if type(one) is CodeType for name in _names(one)} & _ASKS
        if asked:
            what = ", ".join(sorted(asked))
            self.reason = f"its equations ask {what}, which a symbol would answer otherwise than a tensor"

    def _paths(self, root: Any, k: int, name: str, value: Any) -> list[str]:
        """Return where to look up the code of a member, or its plain value."""
        function = getattr(value, _WRAPPED.get(type(value), ""), value)
        if type(function) is not FunctionType:
            return [name] * is_plain(value)
        path = f"{name}.{_WRAPPED[type(value)]}" if type(value) in (property, cached_property) else name
        found: list[Any] = []
        _describe(function, root, found, {})
        if len(found) > 1:
            self.readers.append((k, attrgetter(path)))
        return [f"{path}.__code__"]

    def _read(self, root: Any) -> list[Any]:
        found: list[Any] = []
        seen: dict[FunctionType, int] = {}
        if type(root) is FunctionType:
            _describe(root, root, found, seen)
        for k, getter in self.readers:
            function = getter(root.__mro__[k])
            _describe(getattr(function, "__func__", function), root, found, seen)
        return found

    def is_current(self, root: Any) -> bool:
        """Say whether nothing has been replaced."""
        for now, was in self.ours:
            if tuple(now) != was:
                return False
        try:
            for k, count, getter, before in self.own:
                kind = root.__mro__[k]
                if len(kind.__dict__) != count or not all(map(is_, getter(kind), before)):
                    return False
            return not self.read or self._read(root) == self.read
        except AttributeError:
            return False

    def key(self, root: Any) -> tuple[Any, ...]:
        """Return what is equal for equal sources."""
        # Functions that read nothing unknown are equal if they read the same, such as a lambda in a loop.
        identity = None if type(root) is FunctionType and _UNKNOWN not in self.read else ref(root)
        members = [tuple(map(id, before)) for _, before in self.ours]
        own = [_exactly(one) for *_, before in self.own for one in before]
        return identity, *members, *own, *self.read


#: The sources of classes and functions that are alive, and all sources by their keys.
_sources: dict[ref[Any], Source] = {}
_known: dict[tuple[Any, ...], Source] = {}
_MOST_KNOWN = 1024


def source_of(root: Any) -> Source:
    """Return what a class or a function is; the same object as long as nothing has been replaced.

    Raises:
        NotScalarError: its equations take the loop.
    """
    source = _sources.get(ref(root))
    if source is None or not source.is_current(root):
        source = Source(root)
        if len(_known) >= _MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
        source = _sources[ref(root, _forget)] = _known.setdefault(source.key(root), source)
    if source.reason:
        raise NotScalarError(source.reason)
    return source


def _forget(gone: ref[Any]) -> None:
    _sources.pop(gone, None)


def look_again() -> None:
    """Look up all names anew, as before equations are read: some may have got a value since."""
    _sources.clear()


def is_plain(value: Any) -> bool:
    """Say whether a value is a number, a string or None, or a tuple of them."""
    kind = type(value)
    return kind in PLAIN or isinstance(value, np.generic) or (kind is tuple and all(map(is_plain, value)))


def _exactly(value: Any) -> Any:
    """Return what is equal for values that are the same to equations: 0.0 is not -0.0, nor 1 True."""
    return repr(value) if is_plain(value) else value


def is_fixed(value: Any) -> bool:
    """Say whether this is a class, a function or a module of a package in which nobody changes it."""
    if isinstance(value, BuiltinFunctionType) and value.__self__ is not None:
        value = value.__self__
    if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        return (value.__module__ or "").partition(".")[0] in _PACKAGES
    return isinstance(value, ModuleType) and value.__name__.partition(".")[0] in _PACKAGES


def _describe(function: FunctionType, root: Any, found: list[Any], seen: dict[FunctionType, int]) -> None:
    """Append the code of a function, and the values of the names in it, of its closure and of its defaults."""
    code, around = function.__code__, function.__globals__
    names = _names(code)
    seen[function] = len(seen)
    found.append(code)
    values = [(name, around[name]) for name in names if name in around]
    if function.__closure__:
        values += zip(code.co_freevars, map(_contents, function.__closure__), strict=True)
    values += [("", one) for one in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())]

    for name, value in values:  # which grows
        kind = type(value)
        if kind in PLAIN or is_plain(value):
            # Where it has the name of a method, such as step, that is what the code means.
            if not callable(getattr(root, name, None)):
                found += (name, repr(value))
        elif is_fixed(value):
            found += (name, id(value)) if kind is not ModuleType else ()
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
