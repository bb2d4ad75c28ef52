"""What the server of ``support_kills`` has ready before it forks: what a run imports later, and numba's tables.

Nothing is computed here, and ``snn_core.kernels.cpu.launch`` not imported: a process that has threads must not fork.
"""

import support_kills  # noqa: F401
import torch._dynamo  # noqa: F401
from numba.core.registry import cpu_target

import snn_core.kernels.cpu.products
import snn_core.kernels.cpu.tile  # noqa: F401

cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
