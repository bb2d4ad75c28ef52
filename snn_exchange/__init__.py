"""Take a network elsewhere, and bring one along: NIR, SpikingJelly's weights, torch.export and ONNX.

- :func:`to_nir` and :func:`from_nir` convert between our modules and a graph of `NIR <https://neuroir.org>`_, the
  format in which libraries for spiking networks and neuromorphic hardware exchange networks; :func:`write_nir` and
  :func:`read_nir` are for its files.
- :func:`from_spikingjelly` and :func:`to_spikingjelly` convert state dicts of SpikingJelly's three networks.
- :func:`to_program` and :func:`to_onnx` give a network as a graph of torch's or ONNX's own operations.
- :func:`export` writes any of these files; the suffix chooses.

What a format cannot express exactly is refused, or converted if asked, see :data:`DIFFERENCES`. Only NIR, torch.export
and ONNX need packages beyond those of snn_core: ``pip install 'snn-core[exchange]'``.
"""

from snn_exchange.common import DIFFERENCES, ExchangeError, ExchangeWarning
from snn_exchange.nir_files import read_nir, write_nir
from snn_exchange.nir_read import from_nir
from snn_exchange.nir_write import DIALECTS, to_nir
from snn_exchange.programs import export, to_onnx, to_program
from snn_exchange.spikingjelly import from_spikingjelly, to_spikingjelly

__all__ = [
    "DIALECTS",
    "DIFFERENCES",
    "ExchangeError",
    "ExchangeWarning",
    "export",
    "from_nir",
    "from_spikingjelly",
    "read_nir",
    "to_nir",
    "to_onnx",
    "to_program",
    "to_spikingjelly",
    "write_nir",
]
