"""What pages of the site have beside their source: the views that it begins with, and what is left out of chapters."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import torch
from matplotlib.figure import Figure
from sphinx.application import Sphinx

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.experiments.hands import ALIKE, drawings, said, word
from sequential_fmnist.experiments.waiting import BLANK, COUNTED, OTHER_SEED, Waits, drawn
from sequential_fmnist.networks import columns_as_sequence
from snn_core.functional import reset_net, scan
from snn_tutorial import load_results
from snn_tutorial.live.confusion import confused_images
from snn_tutorial.live.network import network_explorer, waiting_networks
from snn_tutorial.live.train import laboratory, lesson
from snn_tutorial.page import save_figure
from snn_tutorial.plot.style import NO_GRID, QUANTITY, STYLE

#: Drawings of each class in the gallery.
SHOWN = 3
RESULTS = Path(__file__).resolve().parents[1] / "results"
#: What networks learn from on a page, within its view: the site has it in a file of its own.
IMAGES = re.compile(r'(?<="lesson": \{)"images": "[\w+/=]+"')


def shown() -> SequentialFashionMNIST:
    """Return the pictures of the first page."""
    test = SequentialFashionMNIST(train=False, source="embedded", verbose=False)
    test.images, test.labels = test.images[:20], test.labels[:20]
    return test


@plt.rc_context(NO_GRID)
def question() -> Figure:
    """Draw how the networks read a picture and blank columns: the columns, and spikes below them."""
    nets, test = waiting_networks(load_results(RESULTS, "waiting")), shown()
    image = test.images[telling(nets, test), None] / 255
    x_seq = columns_as_sequence(torch.nn.functional.pad(image, (0, BLANK)))
    figure, rows = plt.subplots(
        2, len(nets), figsize=(7.5, 3.94), height_ratios=(1, 2), sharex=True, sharey="row"
    )
    for (name, net), picture, hidden in zip(nets.items(), *rows, strict=True):
        with torch.no_grad():
            spikes = scan(x_seq, net.fc1, net.sn1)[:, 0]
        reset_net(net)
        picture.imshow(x_seq[:, 0].T.numpy(), vmin=0, vmax=1)
        picture.set_title(name, loc="center", color=STYLE[name]["color"], weight="bold")
        places = [np.flatnonzero(neuron) for neuron in spikes.T.numpy()]
        hidden.eventplot(places, colors=QUANTITY["spike"], linelengths=0.8, linewidths=1)
        hidden.set(xlabel="time step", yticks=[])
    figure.suptitle("Can a spike remember?", fontsize=22)
    return figure


def outputs(net: torch.nn.Module, data: SequentialFashionMNIST, blanks: int) -> torch.Tensor:
    """Return what a network says of each picture, ``[n, classes]``, ``blanks`` columns after its end."""
    asked = Waits(net).eval()
    asked.blanks = blanks
    with torch.no_grad():
        said = asked(data.images / 255) * net.scale
    reset_net(asked)
    return said


def telling(nets: Mapping[str, torch.nn.Module], data: SequentialFashionMNIST) -> int:
    """Return the picture on which the networks differ most clearly.

    All name it when it ends. At the last plain is wrong and the others are right, and the less sure of these is surest.
    """
    at_once, at_last = (
        {name: outputs(net, data, blanks) for name, net in nets.items()} for blanks in (0, BLANK)
    )
    knew = torch.stack([found.argmax(1) == data.labels for found in at_once.values()]).all(0)
    is_lost = at_last["plain"].argmax(1) != data.labels
    sure = [
        found.softmax(1).gather(1, data.labels[:, None])[:, 0]
        for name, found in at_last.items()
        if name != "plain"
    ]
    return int((torch.stack(sure).amin(0) * knew * is_lost).argmax())


def write_views(app: Sphinx) -> None:
    """Write the views of the first page, the laboratory, and the page about drawings."""
    record, test = load_results(RESULTS, "waiting"), shown()
    nets, folder = waiting_networks(record), Path(app.srcdir)
    images, first = test.images[:, 0].numpy(), telling(nets, test)
    page = network_explorer(images, test.labels.tolist(), test.classes, question(), record, first)
    still = re.sub(r'src="data:[^"]+"', 'loading="lazy" src="_static/card.png"', page.data, count=1)
    (folder / "landing.html").write_text(still)
    page = laboratory(load_results(RESULTS, "stories"))
    (folder / "docs" / "laboratory.html").write_text(IMAGES.sub('"images": null', page.data))
    hands = drawn(OTHER_SEED, COUNTED)
    shares = {name: outputs(net, hands, 0).softmax(1).numpy() for name, net in nets.items()}
    guesses = {name: found.argmax(1) for name, found in shares.items()}
    page = confused_images(hands.images[:, 0].numpy(), hands.labels.numpy(), guesses, hands.classes)
    parts = [_gallery(shares, hands), page.data, _shares(record, hands.classes)]
    (folder / "docs" / "drawings.html").write_text("\n".join(parts))


def _gallery(shares: Mapping[str, np.ndarray], hands: SequentialFashionMNIST) -> str:
    """Return the first drawings of each class with the answers of the networks; each leads to the pad."""
    cells = []
    for k, (label, strokes) in enumerate(drawings(OTHER_SEED, SHOWN * len(hands.classes))):
        png = io.BytesIO()
        PIL.Image.fromarray(hands.images[k, 0].numpy()).save(png, "PNG")
        picture = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
        name, answers = hands.classes[label], {kind: said(found[k]) for kind, found in shares.items()}
        right = {name, "a top"} if name in (*ALIKE, "T-shirt/top") else {name}
        lines = "".join(
            f'<span title="{kind}">{"✓" if answer in right else "✗"} {answer}</span>'
            for kind, answer in answers.items()
        )
        cell = (
            f'<a href="../index.html#drawing={word(strokes)}"><b>{name}</b>'
            f'<img width="84" height="84" alt="a drawing: {name}" src="{picture}">{lines}</a>'
        )
        cells.append((label, cell))
    cells.sort(key=lambda one: one[0])
    return f'<div class="snn-drawings">{"".join(cell for _, cell in cells)}</div>'


def _shares(record: dict[str, Any], classes: tuple[str, ...]) -> str:
    """Return what was counted, and a table, folded, of the drawings that each network names when the picture ends."""
    networks, recipe = record["networks"].values(), record["recipe"]
    shares = np.array([[row[k] / sum(row) for k, row in enumerate(one["confusion"])] for one in networks])
    rows = [["", *(name.replace("-", " ") for name in record["networks"])]]
    rows += [
        [name, *(f"{share:.0%}" for share in column)] for name, column in zip(classes, shares.T, strict=True)
    ]
    for what, at in (("all, at the end of the picture", "0"), ("all, 56 blank columns later", "56")):
        rows.append([what, *(f"{one['drawings'][at]:.1%}" for one in networks)])
    cells = ("".join(f"<td>{cell.replace('%', ' %')}</td>" for cell in row) for row in rows)
    hard = [classes[k] for k in shares.mean(0).argsort()[:3]]
    table = f'<table class="table">{"".join(f"<tr>{row}</tr>" for row in cells)}</table>'
    counts = np.array([one["confusion"] for one in networks])
    is_alike = np.isin(classes, ALIKE)
    is_right = np.eye(len(classes), dtype=bool) | np.outer(is_alike, is_alike)
    as_one = (counts * is_right).sum((1, 2)) / counts.sum((1, 2))
    named = ", ".join(f"{name} {share:.0%}" for name, share in zip(rows[0][1:], as_one, strict=True))
    text = (
        f"<p>The matrix counts {recipe['counted']} drawings; press a cell to see some of them. The networks learned "
        f"from {recipe['real']:,} images, some of them mirrored, and from {recipe['drawn']:,} other drawings. "
        f"Hardest to tell are {hard[0]}, {hard[1]} and {hard[2]}. "
        f"With {ALIKE[0]}, {ALIKE[1]} and {ALIKE[2]} as one garment: {named}.</p>"
    ).replace("%", "\u00a0%")
    return f"{text}<details><summary>Share of each class that is named</summary>{table}</details>"


def adapt(app: Sphinx, docname: str, source: list[str]) -> None:
    """Leave out of a chapter what only makes sense where it runs."""
    if not docname.startswith("notebooks/"):
        return
    notebook, cells = json.loads(source[0]), []
    for cell in notebook["cells"]:
        outputs = cell.pop("outputs", [])
        if cell["cell_type"] != "markdown":
            cell["outputs"] = [one for one in outputs if "no answer yet" not in "".join(one.get("text", ""))]
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = re.sub(r" at 0x[0-9a-f]+", "", "".join(output["text"]))
            if html := output.get("data", {}).get("text/html"):
                output["data"]["text/html"] = IMAGES.sub('"images": null', "".join(html))
            for about in output.get("metadata", {}).values():
                if "alt" in about:  # where IPython keeps a description; MyST-NB looks for it in the cell
                    cell["metadata"]["mystnb"] = {"image": {"alt": about["alt"]}}
        cells.append(cell)
    source[0] = json.dumps(notebook | {"cells": _view_first(cells)})


def _view_first(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cells of a chapter with its opening view below its title, and what that needs to run behind it."""
    cells[0]["source"] = re.sub(r"\[Web page\]\([^)]*\) · ", "", "".join(cells[0]["source"]))
    first = next((k for k, cell in enumerate(cells) if "".join(cell["source"]).startswith("## ")), len(cells))
    shown, folded = [], []
    for cell in cells[:first]:
        tags = cell["metadata"].get("tags", [])
        (folded if "hide-cell" in tags else shown).append(cell)
        cell["metadata"]["tags"] = ["remove-input" if tag == "hide-input" else tag for tag in tags]
    return [*shown, *folded, *cells[first:]]


def write_files(app: Sphinx, error: Exception | None) -> None:
    """Write the card of links, and the images to train with, which pages load."""
    static = Path(app.outdir) / "_static"
    save_figure(question(), static / "card.png")
    (static / "lesson.js").write_text(f"globalThis.snnImages = {json.dumps(lesson()['images'])};\n")
