# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 Training curves: three ways to remember
#
# <!-- links, written by tools/frame_notebooks.py -->
# Open in [Binder](https://mybinder.org/v2/gh/snn-core/recurrent-snn-tutorials/main?labpath=notebooks%2F05_training_curves.ipynb) · [Colab](https://colab.research.google.com/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/05_training_curves.ipynb) · [nbviewer](https://nbviewer.org/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/05_training_curves.ipynb)
# <!-- end of links -->
#
# **Goal.** Train a plain feedforward network, a network with a stateful synapse and a network with feedback on
# the same task, and read their curves without reading too much into them.
#
# **You will be able to**
# - say why an image that arrives column by column is a memory task,
# - train all three networks with one call each, and follow them in TensorBoard,
# - load trained networks that come with the package, and read their cards,
# - look past the accuracy: which classes are confused, and which images only one network gets right,
# - say which differences mean something, and which may be luck.
#
# <!-- time, written by tools/frame_notebooks.py -->
# **Time.** 62 seconds to run on 2 cores (AMD EPYC).
# <!-- end of time -->
#
# **The task.** A network sees a picture of Fashion-MNIST for 28 time steps, one column of 28 pixels in each, the
# left one first. It answers with the firing rate of ten neurons, one for each class. To tell a boot from a bag it
# has to keep in mind what it saw many steps ago.

# %% tags=["colab", "remove-cell"]
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules:
    print("fetching this collection; torch stays as it is")
    address = "https://github.com/snn-core/recurrent-snn-tutorials"
    folder = "/content/tutorials"
    fetch = ["git", "clone", "--quiet", "--depth", "1", "--branch", "main", address, folder]
    if not Path(folder).exists() and subprocess.run(fetch).returncode != 0:
        raise SystemExit(f"Nothing can be fetched from {address}: not published yet, or no network.")
    # %cd /content/tutorials/notebooks
    # %pip install --quiet '..[experiment]'

# %% tags=["parameters"]
epochs = 64  # 64 as in the text; 4 shows the trend
source = "auto"  # "auto": the full data if they can be had; "embedded": 6,000 real images in the package
seed = 0
results_dir = "../results"
figures_dir = "../figures"
runs_dir = "../runs"  # logs for TensorBoard, and checkpoints

# %% [markdown]
# ## 1 Setup

# %%
import dataclasses
import time
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import write_json
from sequential_fmnist.networks import NETWORKS, NetworkSpec, make_network
from sequential_fmnist.pretrained import load
from sequential_fmnist.provenance import provenance
from sequential_fmnist.training import evaluate, fit, predict
from snn_tutorial.plot.confusion import confusion, pictures
from snn_tutorial.plot.overview import overview
from snn_tutorial.plot.show import show
from snn_tutorial.plot.training import training_curves
from snn_tutorial.widgets.confusion import confused_images

where = provenance()
print(f"snn_core {where['snn_core']}, torch {where['torch']}, {where['processor']}, {where['cores']} cores")

# %% [markdown]
# ## 2 The data
# One line says where the images come from. They stay `uint8` in one tensor, and a batch is an index into it.

# %%
train = SequentialFashionMNIST(train=True, source=source)
test = SequentialFashionMNIST(train=False, source=source)
print(tuple(train.images.shape), tuple(test.images.shape))

# %%
show(
    overview(test.images[0, 0].numpy()),
    alt="an image of a boot with one column marked, and the three networks: plain, with a filter of time constant tau "
    "between hidden neurons and read-out, and with a loop around the hidden neurons",
)

# %% [markdown]
# *The picture is read from left to right. The three networks differ in one thing only: what carries the past.*

# %% [markdown]
# ## 3 The three networks
# They share everything but the part that carries the past.

# %%
for name in NETWORKS:
    parameters = sum(p.numel() for p in make_network(name).parameters())
    print(f"{name:16} {parameters:,} parameters")

# %% [markdown]
# The stateful synapse costs **one** parameter, its time constant. Feedback costs a 64 x 32 matrix and 32 biases.
# Keep that in mind when you compare the curves: more parameters alone may help.
#
# ## 4 Training
# Stochastic gradient descent with learning rate 0.1, momentum 0.9 and a cosine schedule; the loss is the mean
# squared error between firing rates and the one-hot label. `fit` seeds weights and the order of the images.
# Each run leaves checkpoints and a log for TensorBoard in a folder of its own.

# %%
nets, histories, seconds = {}, {}, {}
for name in NETWORKS:
    started, run = time.perf_counter(), Path(runs_dir) / name
    config = TrainingConfig(model=name, epochs=epochs, seed=seed)
    nets[name], histories[name] = fit(config, train, test, output_dir=run, tensorboard=True)
    seconds[name] = time.perf_counter() - started

# %%
for name, history in histories.items():
    last = history[-1]
    print(f"{name:16} test accuracy {last['test_accuracy']:.2%} after {epochs} epochs, {seconds[name]:.0f} s")

# %% [markdown]
# ## 5 The curves
# The last epoch counts. The best epoch would be chosen by looking at the test set, which flatters.

# %%
figure = training_curves(histories, "train_loss", train.is_subset)
show(figure, alt="train loss of each network against the epoch", path=f"{figures_dir}/train_loss.png")

# %% [markdown]
# *Train loss against the epoch. It falls quickly, then slowly. Where a curve jumps up, training collapsed: one step was
# too large, and the network starts again from worse weights. Look for it in the feedback network.*

# %%
figure = training_curves(histories, "train_accuracy", train.is_subset)
show(figure, alt="train accuracy of each network against the epoch", path=f"{figures_dir}/train_accuracy.png")

# %% [markdown]
# *Train accuracy, averaged over each epoch while the weights move.*

# %%
figure = training_curves(histories, "test_accuracy", train.is_subset)
show(figure, alt="test accuracy of each network against the epoch", path=f"{figures_dir}/test_accuracy.png")

# %% [markdown]
# *Test accuracy after each epoch. Compare it with the train accuracy: networks this small hardly overfit. A collapse
# shows here too, as a cliff, and what is left of the schedule may not be enough to climb back.*
#
# ## 6 The same curves in TensorBoard
# `fit(..., tensorboard=True)` wrote them while it trained. In a running notebook, also on Binder and Colab, two lines
# open the board below the cell; `--tb` does the same for `python -m sequential_fmnist`:
# ```
# %load_ext tensorboard
# %tensorboard --logdir ../runs
# ```
# What is in the log can be read back without a browser:

# %%
log = EventAccumulator(str(Path(runs_dir) / "feedback" / "tb")).Reload()
for tag in sorted(log.Tags()["scalars"]):
    events = log.Scalars(tag)
    print(f"{tag:15} {len(events)} points, the last one {events[-1].value:.4f}")

# %% [markdown]
# ## 7 Behind the accuracy: which classes are confused
# One number hides where the errors are. A row of a confusion matrix tells what became of the images of one class.

# %%
labels, images = test.labels.numpy(), test.images[:, 0].numpy()
guesses = {name: predict(net, test).numpy() for name, net in nets.items()}
show(
    confusion(labels, guesses, test.classes),
    alt="three confusion matrices, one for each network: true class against the network's answer, in per cent",
)

# %% [markdown]
# *In per cent of each true class; cells below 5 % have no number. Look at the block of pullover, coat and shirt: they
# have the same outline, and differ in details that lie many columns apart.*

# %%
for name, guess in guesses.items():
    wrong = labels != guess
    pairs, counts = np.unique(np.stack([labels, guess])[:, wrong], axis=1, return_counts=True)
    true, answer = pairs[:, counts.argmax()]
    print(
        f"{name:16} most frequent error: {test.classes[true]} taken for {test.classes[answer]}, {counts.max()} images"
    )

# %% [markdown]
# In a running notebook, controls appear below: choose a network, a class and an answer, and look at the images behind
# a cell of the matrix. On a page without a kernel you see the first choice, drawn as a figure.

# %%
confused_images(images, labels, guesses, test.classes)

# %%
shirt, top = test.classes.index("Shirt"), test.classes.index("T-shirt/top")
fits = np.flatnonzero((labels == shirt) & (guesses["plain"] == top))[:10]
show(
    pictures(images[fits], [f"image {index}" for index in fits]),
    alt="shirts that the plain network takes for T-shirts",
)

# %% [markdown]
# *Shirts that the plain network takes for T-shirts. Would you have known?*
#
# ## 8 What only one network gets right
# Each image is got right by some of the three networks. All eight cases, with the number of test images in each:

# %%
right = {name: guess == labels for name, guess in guesses.items()}
pattern = np.stack(list(right.values()), axis=1)  # [images, networks]
for case, count in zip(*np.unique(pattern, axis=0, return_counts=True), strict=True):
    marks = [f"{name} {'right' if hit else 'wrong'}" for name, hit in zip(right, case, strict=True)]
    print(f"{count:6,} images: {', '.join(marks)}")

# %%
only = np.flatnonzero((pattern == [False, False, True]).all(1))[:10]
said = {
    name: [test.classes[guess] for guess in guesses[name][only]] for name in ("plain", "stateful-synapse")
}
captions = [
    f"{test.classes[labels[i]]}\nplain: {a}\nstateful: {b}"
    for i, a, b in zip(only, *said.values(), strict=True)
]
show(
    pictures(images[only], captions),
    alt="images that only the feedback network gets right, with the others' answers",
)

# %% [markdown]
# *The first ten test images that only the feedback network gets right: above each its class, and what the other two
# answered.*
#
# It is tempting to tell a story about these images. Look at the table first: each network has images that only it gets
# right, and so have two networks that differ in nothing but the seed, as exercise 1 shows.
#
# ## 9 Trained networks to take away
# The recipe above is the text's. [Chapter 07](07_what_does_memory_buy.ipynb) looks for better ones, on training images that
# were set aside, and tests each once. Their weights come with the package. One call checks their SHA-256, builds the
# network and loads them; nothing in the file is executed. With them comes a card that says what they are:

# %%
shipped = {name: load(name) for name in NETWORKS}
net, card = shipped["feedback"]
for part in ("file", "sha256", "parameters", "data", "licence", "intended_use", "limits"):
    print(f"{part}: {card[part]}")

# %% [markdown]
# Here are all three on the test images, next to what their cards say about the recipe. Of its seeds, the one with the
# median accuracy is shipped, not the best.

# %%
for name, (net, card) in shipped.items():
    _, accuracy = evaluate(net, test, loss="cross-entropy")
    said = card["accuracy"]
    print(
        f"{name:16} {card['parameters']:,} parameters: test accuracy {accuracy:.2%}, "
        f"{said['seeds']} seeds {said['mean']:.2%} [{said['low']:.2%}, {said['high']:.2%}]"
    )

# %% [markdown]
# What differs from the text's recipe is on the card too:

# %%
changed = {key: value for key, value in card["training"].items() if value != getattr(TrainingConfig(), key)}
print(f"training: {changed}")
default = dataclasses.asdict(NetworkSpec())
print("network:", {key: value for key, value in card["trained_as"].items() if value != default[key]})

# %% [markdown]
# The batch normalisation is gone: it was folded into the first layer, so that no parameter came on top.
#
# ## 10 What you may conclude, and what not yet
# - The stateful synapse lies above the plain network in every run that we made, with one parameter more. That is a
#   difference you can rely on, under these settings.
# - **One seed is one draw.** The feedback network ends below the plain one with one seed and above it with another:
#   [chapter 07](07_what_does_memory_buy.ipynb) shows ten seeds of each.
# - **A collapse is a property of the recipe.** The gradient that comes back through the recurrent weights is multiplied
#   by them in every step; with a learning rate of 0.1 one batch can be enough to throw the network off. The same loop
#   with the network built from SpikingJelly's modules ends at exactly the same accuracies with the same seeds
#   (`results/peer_seeds.json`).
# - **Feedback has 2.7 times the parameters.** Whether the loop helps, or the size, needs a plain network of that
#   size as a control. [Chapter 07](07_what_does_memory_buy.ipynb) has it.
#
# ## 11 Keep the result

# %%
networks = {
    name: {
        "parameters": sum(p.numel() for p in nets[name].parameters()),
        "seconds": seconds[name],
        "only_this_one_right": int((right[name] & (pattern.sum(1) == 1)).sum()),
        "history": history,
    }
    for name, history in histories.items()
}
result = {"data": train.source, "is_subset": train.is_subset, "epochs": epochs, "seed": seed}
write_json(Path(results_dir) / "training.json", result | {"provenance": where, "networks": networks})

# %% [markdown]
# ## Exercises
# 1. Train the plain network with another seed. How many test images does only one of the two get right? Compare with
#    the table in section 8.
# 2. Train a plain network with 86 hidden neurons, which has about as many parameters as the feedback network.
# 3. Read the pictures row by row. Which network gains, which loses?
#
# <details><summary>Solution 1</summary>
#
# ```python
# other, _ = fit(TrainingConfig(model="plain", epochs=epochs, seed=seed + 1), train, test)
# print((right["plain"] != (predict(other, test).numpy() == labels)).sum(), "images that only one of both gets right")
# ```
# Two draws of one network differ in a good part of the images, too: a difference between two networks means something
# only beyond that.
# </details>
#
# <details><summary>Solution 2</summary>
#
# ```python
# fit(TrainingConfig(model="plain", hidden=86, epochs=epochs), train, test)
# ```
# `sum(p.numel() for p in make_network("plain", hidden=86).parameters())` is 3,364, against 3,338.
# </details>
#
# <details><summary>Solution 3</summary>
#
# ```python
# rows = [SequentialFashionMNIST(train=split, source=source, order="row") for split in (True, False)]
# fit(TrainingConfig(model="feedback", epochs=epochs, order="row"), *rows)
# ```
# </details>
#
# ## What was learned
# - Column by column, Fashion-MNIST asks for memory. A decaying synaptic current supplies it reliably; a recurrent
#   connection can too, if training holds.
# - Curves of one seed show a trend; they do not rank two networks, and a cliff in a curve is a reason to look again.
#
# <!-- navigation, written by tools/frame_notebooks.py -->
# Previous: [04 Three networks, and the gradient that trains them](04_three_networks.ipynb) · Next: [06 Inside the fused kernels](06_inside_the_fused_kernels.ipynb)
# <!-- end of navigation -->
