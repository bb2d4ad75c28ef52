"""What numba does not offer: arrays at an address, and a tile of a matrix product that stays in registers.

A kernel gets addresses because making an array of numpy from a tensor takes longer than to run a small kernel.

numba turns simple loops into vector instructions by itself, but it leaves the sums of a matrix product in memory. The
function that is written here instruction by instruction, :func:`add_tile`, keeps some rows of one or two
vectors in registers. A tile at the edge of a matrix masks what lies outside.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

_AVX512 = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
#: Bytes of a vector; where a register is shorter, LLVM takes two.
BYTES = 64 if _AVX512 else 32
#: Size of a wide tile. AVX-512 has 32 registers, other processors 16; two vectors of b and one number need room too.
ROWS, VECTORS = (8 if _AVX512 else 6), 2


def width(itemsize: int) -> int:
    """Return how many numbers of so many bytes a row of a wide tile has."""
    return VECTORS * BYTES // itemsize


_INT = ir.IntType(64)


def call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Call an instruction of LLVM by its name."""
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)


class _Vectors:
    """Writes LLVM instructions on vectors of one dtype."""

    def __init__(self, builder: Any, dtype: types.Float) -> None:
        self.builder = builder
        self.align = ir.Constant(ir.IntType(32), dtype.bitwidth // 8)
        self.lanes = 8 * BYTES // dtype.bitwidth
        number = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
        self.vector = ir.VectorType(number, self.lanes)
        self.name = f"v{self.lanes}f{dtype.bitwidth}"

    def splat(self, number: Any) -> Any:
        vector = ir.VectorType(number.type, self.lanes)
        first = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), number, first)
        return self.builder.shuffle_vector(
            one, one, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        )

    def mask(self, count: Any, skipped: int) -> Any:
        """Return which lanes of a vector, ``skipped`` numbers into the tile, lie below ``count``."""
        lanes = ir.Constant(ir.VectorType(_INT, self.lanes), list(range(skipped, skipped + self.lanes)))
        return self.builder.icmp_signed("<", lanes, self.splat(count))

    def load(self, address: Any, mask: Any) -> Any:
        address = self.builder.bitcast(address, self.vector.as_pointer())
        nothing = ir.Constant(self.vector, None)
        return call(
            self.builder, f"llvm.masked.load.{self.name}.p0", self.vector, address, self.align, mask, nothing
        )

    def store(self, value: Any, address: Any, mask: Any) -> None:
        address = self.builder.bitcast(address, self.vector.as_pointer())
        call(
            self.builder, f"llvm.masked.store.{self.name}.p0", ir.VoidType(), value, address, self.align, mask
        )

    def multiply_add(self, number: Any, vector: Any, total: Any) -> Any:
        return call(self.builder, f"llvm.fma.{self.name}", self.vector, self.splat(number), vector, total)


def _emit_tile(emitter: _Vectors, vectors: int, arrays: dict[str, Any], numbers: tuple[Any, ...]) -> None:
    """Write the instructions of a tile of ``ROWS`` by ``vectors``; ``numbers`` are the integers of :func:`add_tile`."""
    builder = emitter.builder
    p, row, step, terms, q, b_row, f, f_row, o, out_row, rows, columns = numbers

    def address(name: str, start: Any, stride: Any, times: Any, skipped: int = 0) -> Any:
        index = builder.add(builder.add(start, builder.mul(stride, times)), ir.Constant(_INT, skipped))
        return builder.gep(arrays[name], [index], inbounds=True)

    # Rows below the last one repeat it, so that nothing outside is read.
    last = builder.sub(rows, ir.Constant(_INT, 1))
    places = [ir.Constant(_INT, r) for r in range(ROWS)]
    places = [builder.select(builder.icmp_signed("<", r, last), r, last) for r in places]
    skips = [v * emitter.lanes for v in range(vectors)]
    masks = [emitter.mask(columns, skip) for skip in skips]
    totals = [
        [
            cgutils.alloca_once_value(builder, emitter.load(address("first", f, f_row, r, skip), mask))
            for skip, mask in zip(skips, masks, strict=True)
        ]
        for r in places
    ]
    starts = [builder.add(p, builder.mul(row, r)) for r in places]
    with cgutils.for_range(builder, terms) as loop:
        values = [
            emitter.load(address("b", q, b_row, loop.index, skip), mask)
            for skip, mask in zip(skips, masks, strict=True)
        ]
        for start, total in zip(starts, totals, strict=True):
            number = builder.load(address("a", start, step, loop.index))
            for value, cell in zip(values, total, strict=True):
                builder.store(emitter.multiply_add(number, value, builder.load(cell)), cell)
    for r, total in zip(places, totals, strict=True):
        for skip, mask, cell in zip(skips, masks, total, strict=True):
            emitter.store(builder.load(cell), address("out", o, out_row, r, skip), mask)


@intrinsic
def add_tile(
    typing_context: Any, a: Any, p: Any, row: Any, step: Any, terms: Any, b: Any, q: Any, b_row: Any,
    first: Any, f: Any, f_row: Any, out: Any, o: Any, out_row: Any, rows: Any, columns: Any,
) -> Any:  # fmt: skip
    """Compute a tile of at most ``ROWS`` rows and ``VECTORS`` vectors; see ``products.add_product`` for the rest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emitter = _Vectors(builder, out.dtype)
        places = {"a": 0, "b": 5, "first": 8, "out": 11}
        arrays = {
            name: context.make_array(signature.args[at])(context, builder, arguments[at]).data
            for name, at in places.items()
        }
        numbers = tuple(number for at, number in enumerate(arguments) if at not in places.values())
        is_wide = builder.icmp_signed(">", numbers[-1], ir.Constant(_INT, emitter.lanes))
        with builder.if_else(is_wide) as (wide, narrow):
            with wide:
                _emit_tile(emitter, VECTORS, arrays, numbers)
            with narrow:
                _emit_tile(emitter, 1, arrays, numbers)
        return context.get_dummy_value()

    integer = types.intp
    return (
        types.void(
            a, integer, integer, integer, integer, b, integer, integer,
            first, integer, integer, out, integer, integer, integer, integer,
        ),
        generate,
    )  # fmt: skip


@intrinsic
def array_at(typing_context: Any, address: Any, shape: Any, like: Any) -> Any:
    """Return the contiguous array of this shape and of the dtype of the number ``like`` at an address.

    It does not own its memory: whoever calls the kernel keeps the tensor.
    """
    kind = types.Array(like, shape.count, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(kind)(context, builder)
        size = ir.Constant(_INT, like.bitwidth // 8)
        shapes = cgutils.unpack_tuple(builder, arguments[1], shape.count)
        strides = [size]
        for extent in reversed(shapes[1:]):
            strides.insert(0, builder.mul(strides[0], extent))
        data = builder.inttoptr(arguments[0], context.get_data_type(like).as_pointer())
        populate_array(array, data=data, shape=shapes, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

    return kind(types.intp, shape, like), generate


@intrinsic
def width_of(typing_context: Any, array: Any) -> Any:
    """Return how many numbers of the array's dtype a row of a wide tile has."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, width(array.dtype.bitwidth // 8))

    return types.intp(array), generate


@intrinsic
def address_of(typing_context: Any, array: Any, at: Any) -> Any:
    """Return the address of the element ``at`` of a contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(builder.gep(data, [arguments[1]]), _INT)

    return types.intp(array, at), generate


@intrinsic
def copy(typing_context: Any, source: Any, at: Any, to: Any, target: Any, count: Any) -> Any:
    """Copy ``count`` numbers from ``source[at:]`` to ``target[to:]``, which do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, (_, at, to, _, count) = signature.args, arguments
        places = [
            builder.gep(context.make_array(kinds[k])(context, builder, arguments[k]).data, [start])
            for k, start in ((3, to), (0, at))
        ]
        size = builder.mul(count, ir.Constant(_INT, kinds[0].dtype.bitwidth // 8))
        cgutils.raw_memcpy(builder, *places, size, 1)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp), generate


@intrinsic
def invoke(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Call the compiled function at an address with integers and addresses."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        passed = cgutils.unpack_tuple(builder, values[1], arguments.count)
        kind = ir.FunctionType(ir.VoidType(), [_INT] * arguments.count)
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(function, arguments), generate
