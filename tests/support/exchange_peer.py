"""Loads, runs and exports networks in another library: ``python exchange_peer.py PEER FOLDER NAME ...``.

A process of its own, since some libraries have environments of their own: the library, nir and NumPy are needed. FOLDER
holds ``x_seq.npy`` of shape [T, N, 28] and ``weights.npz``. For a name ``to-...`` the graph of that name is run, for
``from-KIND`` a network is exported as one. The spikes of the hidden layer, [T, N, hidden], and what the network gives,
[T, N, 10], go to ``NAME.npz``; ``results.json`` says what failed, and why.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import signal
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nir
import numpy as np

Arrays = dict[str, np.ndarray]


#: Seconds of processor time, so that a loop without end ends, and a busy machine changes nothing.
LIMIT = 20


class TorchPeer:
    """What libraries on torch share: they run one step after the other and hand a state on."""

    package = importer = ""

    def run(self, graph: nir.NIRGraph, x_seq: np.ndarray) -> Arrays:
        import torch

        net = importlib.import_module(self.importer).import_from_nir(graph)
        hidden, outputs, state = [], [], None
        neurons = dict(net.named_modules())["sn1"]
        neurons.register_forward_hook(lambda _module, _inputs, output: hidden.append(spikes_of(output)))
        with torch.no_grad():
            for x in torch.from_numpy(x_seq):
                output, state = net(x, state)
                outputs.append(spikes_of(output))
        return {"hidden": torch.stack(hidden).numpy(), "output": torch.stack(outputs).numpy()}


def spikes_of(output):
    """Return the spikes of what a neuron gives, with or without its potential."""
    return output[0] if isinstance(output, tuple) else output


class SnnTorch(TorchPeer):
    package, importer = "snntorch", "snntorch.import_nir"

    def export(self, kind: str, weights: Arrays, x_seq: np.ndarray) -> tuple[nir.NIRGraph, Arrays]:
        """Build a network of Leaky neurons and return it as snnTorch exports it, and what it does."""
        import snntorch as snn
        import torch
        from snntorch.export_nir import export_to_nir
        from torch import nn

        size = len(weights["fc1.bias"])
        options = {"beta": 0.9, "init_hidden": True}
        if kind in ("zero", "subtract"):  # with one beta, as in its manual, the file lacks the layer's size
            options |= {"beta": torch.full((size,), 0.9), "threshold": torch.ones(size)}
        if kind in ("zero", "recurrent"):
            options |= {"reset_mechanism": "zero", "reset_delay": False}
        fc1 = linear(weights["fc1.weight"], weights["fc1.bias"])
        fc2 = linear(weights["fc2.weight"], weights["fc2.bias"])
        if kind == "recurrent":
            neurons = snn.RLeaky(all_to_all=True, linear_features=size, **options)
            recurrent = {"weight": torch.from_numpy(weights["recurrent"]), "bias": torch.zeros(size)}
            neurons.recurrent.load_state_dict(recurrent)
        else:
            neurons = snn.Leaky(**options)
        net = nn.Sequential(fc1, neurons, fc2)
        done = run_steps(net, x_seq)
        neurons.reset_mem()
        return export_to_nir(net, torch.from_numpy(x_seq[0, :1]), ignore_dims=[0]), done


def run_steps(layers, x_seq: np.ndarray) -> Arrays:
    """Return what the second of three layers and the last one give, one step after the other."""
    import torch

    hidden, outputs = [], []
    with torch.no_grad():
        for x in torch.from_numpy(x_seq):
            hidden.append(layers[1](layers[0](x)))
            outputs.append(layers[2](hidden[-1]))
    return {"hidden": torch.stack(hidden).numpy(), "output": torch.stack(outputs).numpy()}


def linear(weight: np.ndarray, bias: np.ndarray):
    import torch

    layer = torch.nn.Linear(*weight.shape[::-1])
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return layer


class SpikingJelly(TorchPeer):
    package, importer = "spikingjelly", "spikingjelly.activation_based.nir_exchange"

    def export(self, kind: str, weights: Arrays, x_seq: np.ndarray) -> tuple[nir.NIRGraph, Arrays]:
        import torch
        from spikingjelly.activation_based import functional, layer, neuron
        from spikingjelly.activation_based.nir_exchange import export_to_nir
        from torch import nn

        fc1 = linear(weights["fc1.weight"], weights["fc1.bias"])
        fc2 = linear(weights["fc2.weight"], weights["fc2.bias"])
        neurons: nn.Module = neuron.LIFNode(tau=4.0) if kind == "lif" else neuron.IFNode()
        if kind == "recurrent":
            size = len(weights["fc1.bias"])
            neurons = layer.LinearRecurrentContainer(neurons, size, size)
        net = nn.Sequential(fc1, neurons, fc2)
        graph = export_to_nir(net, torch.from_numpy(x_seq[0, :1]))
        functional.reset_net(net)
        return graph, run_steps(net, x_seq)


class Spyx:
    package = "spyx"

    def run(self, graph: nir.NIRGraph, x_seq: np.ndarray) -> Arrays:
        """Its neurons come first and its readers hand out potentials: spikes are where the one before is above 1."""
        import jax
        import jax.numpy as jnp
        import spyx.nir

        model, (outputs, states) = spyx.nir.from_nir(
            graph, jnp.asarray(x_seq), dt=1e-4, return_all_states=True
        )
        potentials = [leaf for leaf in jax.tree.leaves(states) if leaf.ndim == 3]
        neurons = next(layer for layer in model.layers if hasattr(layer, "threshold"))
        v = np.asarray(potentials[0])
        before = np.concatenate([np.zeros_like(v[:1]), v[:-1]])
        hidden = (before - np.asarray(neurons.threshold) > 0).astype(np.float32)
        return {"hidden": hidden, "output": np.asarray(outputs)}

    def export(self, kind: str, weights: Arrays, x_seq: np.ndarray) -> tuple[nir.NIRGraph, Arrays]:
        import jax.numpy as jnp
        import spyx.nir
        import spyx.nn
        from flax import nnx

        def dense(name: str) -> nnx.Linear:
            weight = weights[f"{name}.weight"]
            layer = nnx.Linear(weight.shape[1], weight.shape[0], rngs=nnx.Rngs(0))
            layer.kernel[...] = jnp.asarray(weight.T)
            layer.bias[...] = jnp.asarray(weights[f"{name}.bias"])
            return layer

        size = len(weights["fc1.bias"])
        if kind == "recurrent":
            neurons = spyx.nn.RIF((size,), rngs=nnx.Rngs(0))
            neurons.recurrent_w[...] = jnp.asarray(weights["recurrent"].T)
        else:
            neurons = spyx.nn.IF((size,))
        layers = spyx.nn.Sequential(dense("fc1"), neurons, dense("fc2"))
        shapes = ({"input": np.array([x_seq.shape[2]])}, {"output": np.array([len(weights["fc2.bias"])])})
        graph = spyx.nir.to_nir(layers, *shapes, dt=1e-4)
        first = spyx.nn.Sequential(dense("fc1"), neurons)
        hidden, _ = spyx.nn.run(first, jnp.asarray(x_seq))
        outputs, _ = spyx.nn.run(layers, jnp.asarray(x_seq))
        return graph, {"hidden": np.asarray(hidden), "output": np.asarray(outputs)}


PEERS: dict[str, Callable] = {"snntorch": SnnTorch, "spikingjelly": SpikingJelly, "spyx": Spyx}


def give_up(_signal: int, _frame: object) -> None:
    raise TimeoutError("it does not end")


def work(peer, folder: Path, name: str) -> str | None:
    """Do what a name asks for; return the error if it failed."""
    x_seq, weights = np.load(folder / "x_seq.npy"), dict(np.load(folder / "weights.npz"))
    direction, _, kind = name.partition("-")
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
        with contextlib.redirect_stdout(io.StringIO()):  # some of them print
            if direction == "to":
                done = peer.run(nir.read(folder / f"{name}.nir"), x_seq)
            else:
                graph, done = peer.export(kind, weights, x_seq)
                nir.write(folder / f"{name}.nir", graph)
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    np.savez(folder / f"{name}.npz", **done)
    return None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGVTALRM, give_up)
    peer, folder = PEERS[sys.argv[1]](), Path(sys.argv[2])
    results = {
        "version": version(peer.package),
        "errors": {name: work(peer, folder, name) for name in sys.argv[3:]},
    }
    (folder / "results.json").write_text(json.dumps(results))
