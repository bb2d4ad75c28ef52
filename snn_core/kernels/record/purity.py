"""What a program may stand for: functions and classes whose equations depend on nothing that may change unseen.

A program is recorded once and kept. Numbers and methods that belong to a class are looked at whenever it is used; what
cannot be looked at, such as a variable of a module, leaves the equations to the loop.
"""

from __future__ import annotations

import builtins
import dis
import itertools
import operator
import sys
import types
from collections.abc import Iterator
from functools import cached_property, lru_cache
from inspect import CO_VARARGS, CO_VARKEYWORDS
from typing import Any

import torch

from snn_core.kernels.record.symbols import KNOWN, NotScalarError, constant_when_compiled

#: What equations may hold besides tensors, surrogate functions and other cells; they may branch on it.
PLAIN = (bool, int, float, str, type(None))

#: Instructions of Python's that only compute with a function's own arguments, variables and constants.
_COMPUTING = (
    "RESUME", "NOP", "CACHE", "LOAD_FAST", "STORE_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "COPY", "SWAP", "POP_TOP",
    "UNARY_NEGATIVE", "COMPARE_OP", "RETURN_VALUE",
)  # fmt: skip


@constant_when_compiled
def is_pure(function: Any) -> bool:
    """Say whether a function is arithmetic on its arguments and nothing else, so that a kernel may take its place.

    True for functions of torch and ``operator`` that kernels know, and for a function or lambda written in Python
    without defaults that uses only its arguments, numbers, ``+ - * /`` and comparisons: no call, global name, closure,
    branch, or change in place. Any other one may do something else in each step.
    """
    if isinstance(function, types.FunctionType):
        return function.__defaults__ is None and _computes(function.__code__)
    name = getattr(function, "__name__", "")
    known = function is getattr(torch, name, None) or function is getattr(operator, name, None)
    return known and name in KNOWN


@lru_cache(maxsize=256)
def _computes(code: types.CodeType) -> bool:
    if code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS):
        return False
    return all(
        step.argrepr in ("+", "-", "*", "/")
        if step.opname == "BINARY_OP"
        else step.opname.startswith(_COMPUTING)
        for step in dis.get_instructions(code)
    )


#: Where classes, functions and modules are that users do not change.
_PACKAGES = "snn_core.", "torch.", "builtins.", "math.", "operator."
#: What tells a tensor from anything else.
_ASKS = "isinstance", "type", "is_tensor"
_FOLLOWED = (types.FunctionType, *PLAIN)
#: How names of functions of torch begin that tell in which mode it is.
_MODES = "is_", "are_", "get_"
#: What is followed where equations read it as an attribute of a module that users do not change, such as math.pi.
_CONSTANTS = (*PLAIN, torch.dtype, torch.layout, torch.memory_format, types.MethodDescriptorType)
#: Special methods that equations may call.
_CALLED = "__call__", "__getattr__", "__getattribute__"
#: What is found of members of a class by the functions in them.
_WRAPPED = {property: "fget", staticmethod: "__func__", classmethod: "__func__", cached_property: "func"}


def _is_fixed(value: Any) -> bool:
    """Say whether this is a class, a function or a module that users do not change."""
    if isinstance(value, types.BuiltinFunctionType) and value.__self__ is not None:
        value = value.__self__
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return f"{value.__module__}.".startswith(_PACKAGES)
    return isinstance(value, types.ModuleType) and f"{value.__name__}.".startswith(_PACKAGES)


_fixed: set[type] = set()


def _classes_of_users(kind: type) -> tuple[type, ...]:
    if kind in _fixed:
        return ()
    found = tuple(each for each in kind.__mro__ if not _is_fixed(each))
    if not found:
        _fixed.add(kind)
    return found


def class_key(kind: type) -> Any:
    """Return what stands for a class: a number, another one when what its user may change of it has changed.

    Raises:
        NotScalarError: its methods read something that may change unseen.
    """
    found = _class_number(kind)
    if isinstance(found, str):
        raise NotScalarError(found)
    return found


@constant_when_compiled
def _class_number(kind: type) -> int | str:
    """Return the number of a class, or why it has none."""
    try:
        return _numbers.setdefault(_members(kind), next(_next_number))
    except NotScalarError as error:
        return str(error)


_numbers: dict[Any, int] = {}
_next_number = itertools.count()  # no two threads get the same


def _members(kind: type) -> Any:
    """Return what a user may change of a class: numbers, methods, and functions that these call.

    Raises:
        NotScalarError: its methods read something that may change unseen.
    """
    # Somebody may have replaced functions of the library, or added numbers.
    library = [each for each in kind.__mro__ if each.__module__.startswith("snn_core.")]
    values = [value for each in library for value in vars(each).values()]
    ours = [value for value in values if isinstance(value, _FOLLOWED)]
    if not _classes_of_users(kind):
        return kind, *ours
    own: list[Any] = []
    for each in _classes_of_users(kind):
        for name, value in vars(each).items():
            value = getattr(value, _WRAPPED.get(type(value), ""), value)
            if name == "__slots__" and value:
                raise NotScalarError("it has slots: kernels read fields from __dict__")
            is_read = name in _CALLED or not name.startswith(("__", "_abc_impl"))
            if not is_read or isinstance(value, types.MemberDescriptorType):
                continue
            if not isinstance(value, _FOLLOWED):
                raise NotScalarError(f"its class holds {name}, which may change: make it a field")
            # An editor's reload replaces the code of a function in place.
            own.append((name, type(value), _hex(value), getattr(value, "__code__", None)))
    return kind, *map(_hex, ours), *own, *_outside(kind, [value for _, _, value, _ in own])


def _hex(value: Any) -> Any:
    """Return what tells a value from others: 0.0 and -0.0 are equal."""
    return value.hex() if type(value) is float else value


def _outside(kind: type, waiting: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the variables that functions read, of their module or of a function around, by name and value.

    Raises:
        NotScalarError: one is neither a function nor something that nobody changes.
    """
    seen = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, types.FunctionType) or function in seen or _is_fixed(function):
            continue
        seen.add(function)
        code = function.__code__
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            if not isinstance(value, PLAIN):
                raise NotScalarError(
                    f"its equations read a default of {function.__name__}, which may change: make it a field"
                )
            yield "", _hex(value)
        for path in _variables(code):
            value, rest = _looked_up(function, path)
            if isinstance(value, types.FunctionType):
                waiting.append(value)
            elif not any(value is one for one in (None, *kind.__mro__)):
                _check_fixed(path, value, rest)
            yield ".".join(path), (_hex(value), getattr(value, "__code__", None))


def _looked_up(function: types.FunctionType, path: tuple[str, ...]) -> tuple[Any, list[str]]:
    """Return what a function finds under a name and its attributes, as far as users do not change what has them."""
    name, *rest = path
    around = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    value = function.__globals__.get(name, sys.modules.get(name, getattr(builtins, name, None)))
    value = around[name].cell_contents if name in around else value
    while rest and _is_fixed(value) and hasattr(value, rest[0]):
        value = getattr(value, rest.pop(0))
    return value, rest


def _check_fixed(path: tuple[str, ...], value: Any, rest: list[str]) -> None:
    """Refuse what may change unseen, or would answer a symbol otherwise than a tensor.

    Raises:
        NotScalarError: with the reason.
    """
    name, is_fixed = path[-1], _is_fixed(value)
    if name in _ASKS or (name.startswith(_MODES) and is_fixed):
        raise NotScalarError(f"its equations ask {name}, which a symbol would answer otherwise than a tensor")
    if is_fixed or (len(path) > 1 and not rest and isinstance(value, _CONSTANTS)):
        return
    name = ".".join(path[: len(path) - len(rest)])
    if isinstance(value, type) and issubclass(value, torch.autograd.Function):
        raise NotScalarError(f"kernels cannot derive {name}: make it a surrogate function")
    raise NotScalarError(f"its equations read {name}, which may change: make it a field")


@lru_cache(maxsize=1024)
def _variables(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """Return the variables that a function reads from elsewhere, each with the attributes that it reads of it."""
    found: list[tuple[str, ...]] = []
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "PUSH_NULL")]
    for k, step in enumerate(steps):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "IMPORT_NAME"):
            is_attribute = (later.opname in ("LOAD_ATTR", "LOAD_METHOD") for later in steps[k + 1 :])
            count = len(list(itertools.takewhile(bool, is_attribute)))
            found.append((step.argval, *(later.argval for later in steps[k + 1 : k + 1 + count])))
        elif step.argval == "is_tensor":
            found.append((step.argval,))
        elif isinstance(step.argval, types.CodeType):
            found += _variables(step.argval)
    if "dtype" in code.co_names and any(step.opname == "IS_OP" for step in steps):
        found.append(("type",))  # x.dtype is torch.float64
    return tuple(dict.fromkeys(found))
