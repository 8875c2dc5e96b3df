"""A hint to the processor, for compiled loops: what will be read soon."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_INT = ir.IntType(32)
_BYTES = ir.IntType(8).as_pointer()
#: For reading, to be kept as near as can be, as data (LLVM's llvm.prefetch).
_READ, _NEAR, _DATA = (ir.Constant(_INT, n) for n in (0, 3, 1))


@intrinsic
def prefetch(context: Any, array: Any, place: Any) -> Any:
    """Have the cache line of ``array``, which is contiguous, fetched at an element, counted from the first one."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        at = builder.bitcast(builder.gep(first, [arguments[1]]), _BYTES)
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _INT, _INT, _INT])
        builder.call(builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind), [at, _READ, _NEAR, _DATA])
        return context.get_dummy_value()

    return types.void(array, types.intp), code
