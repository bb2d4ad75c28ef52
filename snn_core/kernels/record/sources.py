"""What equations are made of: the methods of a class, and the functions and constants that these read.

Equations are read when a class and its code are first used, as in ``jax.jit``. A method or function that is replaced
later, its code, as an editor's reload replaces it, or a number of the class or of the module around it is seen by the
next call. Whatever else equations read must be something that nobody changes; otherwise they take the loop.
"""

from __future__ import annotations

import builtins
import dataclasses
import dis
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache, partial
from operator import attrgetter
from typing import Any

import torch

from snn_core.kernels.record.symbols import NotScalarError

#: What equations may hold besides tensors, surrogate functions and other cells; they may branch on it.
PLAIN = (bool, int, float, str, type(None))

#: Where classes, functions and modules are that nobody changes.
_PACKAGES = "snn_core.", "torch.", "numpy.", "builtins.", "math.", "operator.", "_operator."
#: Those of classes whose methods are no equations.
_BASES = "torch.", "builtins.", "abc.", "typing."
#: What members of a class keep their function in.
_WRAPPED = {property: "fget", staticmethod: "__func__", classmethod: "__func__", cached_property: "func"}
#: Special methods that equations may call.
_CALLED = "__call__", "__getattr__", "__getattribute__"
#: What tells a tensor from anything else.
_ASKS = [isinstance, type, torch.is_tensor]
#: How names of functions of torch begin that tell in which mode it is.
_MODES = "is_", "are_", "get_"
#: Attributes of modules that nobody changes, such as math.pi.
_CONSTANTS = (*PLAIN, torch.dtype, torch.layout, torch.memory_format, types.MethodDescriptorType)


class Source:
    """A class or a function, as it was read.

    Attributes:
        reason: why its equations take the loop, "" if they do not.
    """

    def __init__(self, root: Any) -> None:
        #: How to look up what matters, some of it at a time, and what was found.
        self.found: list[tuple[Callable[[], Any], Any]] = []
        self.reason = ""
        try:
            for lookup in _read(root):
                self.found.append((lookup, lookup()))
        except NotScalarError as error:
            self.reason = str(error)
        pieces = [piece for _, found in self.found for piece in (found if type(found) is tuple else [found])]
        functions = map(_inside, [root, *pieces])
        self.functions = [
            one for one in functions if isinstance(one, types.FunctionType) and not _is_fixed(one)
        ]
        self.codes = list(map(_code, self.functions))

    def is_current(self) -> bool:
        """Say whether nothing has been replaced, neither a piece nor the code of a function in place."""
        try:
            for lookup, before in self.found:
                if lookup() != before:
                    return False
        except AttributeError:
            return False
        return list(map(_code, self.functions)) == self.codes


_code = attrgetter("__code__")
_read_before: dict[Any, Source] = {}
#: Those without a reason that have been compared since :func:`look_again`.
sources: dict[Any, Source] = {}


def look_again() -> None:
    """Compare each source once more when it is next asked for, as at the beginning of a call."""
    sources.clear()


def source_of(root: Any) -> Source:
    """Return what a class or a function is made of; the same object as long as nothing has been replaced.

    Raises:
        NotScalarError: it reads something that may change unseen.
    """
    found = _read_before.get(root)
    if found is None or not found.is_current():
        found = _read_before[root] = Source(root)
    if found.reason:
        raise NotScalarError(found.reason)
    sources[root] = found
    return found


def _inside(value: Any) -> Any:
    return getattr(value, _WRAPPED.get(type(value), ""), value)


def _is_plain(value: Any) -> bool:
    return type(value) in PLAIN or (type(value) is tuple and all(map(_is_plain, value)))


def _is_fixed(value: Any) -> bool:
    """Say whether this is a class, a function or a module that nobody changes."""
    if isinstance(value, types.BuiltinFunctionType) and value.__self__ is not None:
        value = value.__self__
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return f"{value.__module__}.".startswith(_PACKAGES)
    return isinstance(value, types.ModuleType) and f"{value.__name__}.".startswith(_PACKAGES)


def _read(root: Any) -> Iterator[Callable[[], Any]]:
    """Yield how to look up what a class or a function is made of, some of it at a time.

    Raises:
        NotScalarError: it reads something that may change unseen.
    """
    functions, names = [], []
    if isinstance(root, types.FunctionType):
        functions.append(root)
    elif not isinstance(root, type) and not _is_fixed(root):
        raise NotScalarError(f"kernels do not know what {type(root).__name__} computes: use a function")
    classes = [kind for kind in getattr(root, "__mro__", ()) if not f"{kind.__module__}.".startswith(_BASES)]
    for kind in reversed(classes):
        fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else ()
        for name, value in vars(kind).items():
            if name == "__slots__" and value:
                raise NotScalarError("it has slots: kernels read fields from __dict__")
            if not (name in _CALLED or not name.startswith(("__", "_abc_impl"))):
                continue
            if isinstance(_inside(value), types.FunctionType):
                names.append(name)
                functions.append(_inside(value))
            elif _is_plain(value):
                if not (_is_fixed(kind) or name in fields):  # each instance has fields of its own
                    yield partial(_exactly, partial(vars(kind).get, name))
            elif not (isinstance(value, types.MemberDescriptorType) or _is_fixed(kind)):
                raise NotScalarError(f"its class holds {name}, which may change: make it a field")
        # Of each class what it inherits, too, since it may get a method of its own.
        if names:
            yield partial(attrgetter("__name__", *dict.fromkeys(names)), kind)
    yield from _outside(tuple(classes), functions)


def _outside(classes: tuple[Any, ...], waiting: list[Any]) -> Iterator[Callable[[], Any]]:
    """Yield how to look up what functions read, of their module or of a function around, and what these read.

    Raises:
        NotScalarError: they read something that may change unseen.
    """
    seen = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, types.FunctionType) or function in seen or _is_fixed(function):
            continue
        seen.add(function)
        yield partial(_itself, function)
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        if not all(map(_is_plain, defaults)):
            what = f"a default of {function.__name__}"
            raise NotScalarError(f"its equations read {what}, which may change: make it a field")
        for path in _variables(function.__code__):
            lookup = _lookup(function, path[0])
            value, rest = lookup(), list(path[1:])
            while rest and _is_fixed(value) and hasattr(value, rest[0]):
                value = getattr(value, rest.pop(0))
            if isinstance(value, types.FunctionType) and not (rest or _is_fixed(value)):
                waiting.append(value)
                yield lookup
            elif _is_plain(value) and len(path) == 1:
                yield partial(_exactly, lookup)
            elif not any(value is one for one in classes):
                _check_fixed(path, value, rest)


def _itself(value: Any) -> Any:
    return value


def _exactly(lookup: Callable[[], Any]) -> Any:
    """Return what is equal for values that are the same to equations: 0.0 is not -0.0, nor 1 True."""
    value = lookup()
    return repr(value) if _is_plain(value) else value


def _lookup(function: types.FunctionType, name: str) -> Callable[[], Any]:
    """Return how a function finds the value of a name."""
    around = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    if name in around:
        return partial(getattr, around[name], "cell_contents", None)
    default = sys.modules.get(name, getattr(builtins, name, None))
    return partial(function.__globals__.get, name, default)


def _check_fixed(path: tuple[str, ...], value: Any, rest: list[str]) -> None:
    """Refuse what may change unseen, or would answer a symbol otherwise than a tensor.

    Raises:
        NotScalarError: with the reason.
    """
    name, is_fixed = path[-1], _is_fixed(value)
    if value in _ASKS or (name.startswith(_MODES) and is_fixed):
        raise NotScalarError(f"its equations ask {name}, which a symbol would answer otherwise than a tensor")
    if is_fixed or (len(path) > 1 and not rest and isinstance(value, _CONSTANTS)):
        return
    name = ".".join(path)
    if isinstance(value, type) and issubclass(value, torch.autograd.Function):
        raise NotScalarError(f"kernels cannot derive {path[0]}: make it a surrogate function")
    raise NotScalarError(f"its equations read {name}, which may change: make it a field")


@lru_cache(maxsize=1024)
def _variables(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """Return the variables that a function reads from elsewhere, each with the attributes that it reads of it."""
    found: list[tuple[str, ...]] = []
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "PUSH_NULL")]
    for k, step in enumerate(steps):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "IMPORT_NAME"):
            behind = itertools.takewhile(
                lambda one: one.opname in ("LOAD_ATTR", "LOAD_METHOD"), steps[k + 1 :]
            )
            found.append((step.argval, *(one.argval for one in behind)))
        elif isinstance(step.argval, types.CodeType):
            found += _variables(step.argval)
    if "dtype" in code.co_names and any(step.opname == "IS_OP" for step in steps):
        found.append(("type",))  # x.dtype is torch.float64
    return tuple(dict.fromkeys(found))
