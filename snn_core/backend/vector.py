"""Vectors for the CPU kernels: 64 bytes of numbers that LLVM keeps in registers, whatever the processor's are.

numba turns a simple loop into vector instructions by itself, but not a matrix product, whose sums must stay in
registers over the whole inner loop. The four functions here let a kernel say so: :func:`load`, :func:`store`,
:func:`multiply_add` and, for a vector's length, :func:`lanes`. A tile that is narrower than a vector passes ``count``
and touches ``count`` numbers only. On processors with shorter registers LLVM splits a vector in two or four.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

BYTES = 64
_I32 = ir.IntType(32)


class Vector(types.Type):
    """Numba's type of a vector of ``lanes`` numbers."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype, self.lanes = dtype, 8 * BYTES // dtype.bitwidth
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        number = ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, vector, ir.VectorType(number, vector.lanes))


def _splat(builder: Any, number: Any, vector: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(_I32, 0))
    return builder.shuffle_vector(
        one, one, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    )


def _mask(builder: Any, count: Any, vector: Any) -> Any:
    """Return the lanes below ``count``."""
    numbers = ir.VectorType(_I32, vector.count)
    limit = _splat(builder, builder.trunc(count, _I32), numbers)
    return builder.icmp_signed("<", ir.Constant(numbers, list(range(vector.count))), limit)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index], inbounds=True)


def _call(builder: Any, name: str, vector: Any, result: Any, arguments: list[Any]) -> Any:
    """Call LLVM's own function ``name`` for this kind of vector."""
    number = "f32" if isinstance(vector.element, ir.FloatType) else "f64"
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    full_name = name.format(vector=f"v{vector.count}{number}")
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, full_name), arguments)


@intrinsic
def load(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """Return ``array[index : index + count]``, the other lanes 0."""
    kind = Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = context.get_value_type(kind)
        address = _pointer(context, builder, signature.args[0], *arguments[:2])
        address = builder.bitcast(address, vector.as_pointer())
        align = ir.Constant(_I32, array.dtype.bitwidth // 8)
        mask = _mask(builder, arguments[2], vector)
        nothing = ir.Constant(vector, None)
        return _call(builder, "llvm.masked.load.{vector}.p0", vector, vector, [address, align, mask, nothing])

    return kind(array, types.intp, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, count: Any, value: Any) -> Any:
    """Write the first ``count`` lanes of ``value`` to ``array[index : index + count]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = context.get_value_type(signature.args[3])
        address = _pointer(context, builder, signature.args[0], *arguments[:2])
        address = builder.bitcast(address, vector.as_pointer())
        align = ir.Constant(_I32, array.dtype.bitwidth // 8)
        mask = _mask(builder, arguments[2], vector)
        _call(
            builder,
            "llvm.masked.store.{vector}.p0",
            vector,
            ir.VoidType(),
            [arguments[3], address, align, mask],
        )
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), generate


@intrinsic
def multiply_add(typing_context: Any, array: Any, index: Any, vector: Any, total: Any) -> Any:
    """Return ``total + array[index] * vector``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(total)
        number = builder.load(_pointer(context, builder, signature.args[0], *arguments[:2]))
        return _call(
            builder, "llvm.fma.{vector}", kind, kind, [_splat(builder, number, kind), *arguments[2:]]
        )

    return total(array, types.intp, vector, total), generate


@intrinsic
def lanes(typing_context: Any, array: Any) -> Any:
    """Return how many numbers of the array's dtype a vector holds."""
    count = Vector(array.dtype).lanes
    return types.intp(array), lambda context, builder, signature, arguments: context.get_constant(
        types.intp, count
    )
