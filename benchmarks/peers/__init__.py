"""One module for each library, imported only in a worker process whose environment has it.

Each offers:

- ``PACKAGES``, whose versions are recorded;
- ``network(variant, network, inputs)``, which has ``steps(count)``: it takes training steps on one batch, waits until
  they are done and returns the last loss;
- ``LAYERS``, functions from H to a layer, by the names of the table; all are in ``ours.py``;
- ``layer(variant, layer)``, whose ``steps(count)`` returns the mean output and ``gradient_norm()`` a gradient's norm;
- ``NOTES``, which name each layer that computes something else than ours, and say what.
"""
