/** How far back the gradient of an output reaches, in each of the trained networks. */

import { Chart, raster } from "./chart.js";
import { colorOf } from "./colors.js";
import { box, menu } from "./controls.js";
import { bytes, columnsOf, element, range, SIDE } from "./numbers.js";
import { load } from "./scan.js";

/**
 * @typedef {{networks: import("./scan.js").Trained[], cells: import("./scan.js").Cells, classes: string[],
 *   images: string, labels: number[]}} GradientData
 */

/** Powers of ten below the largest gradient that are still seen. */
const POWERS = 4;

/** @type {import("./view.js").Build<GradientData>} */
export const gradient = ({ networks, cells, classes, images, labels }) => {
  const pixels = bytes(images);
  const names = networks.map(({ name }) => name);
  const pictures = labels.map((label, k) => `${k}: ${classes[label]}`);
  const which = menu("network", names, names.length - 1);
  const picture = menu("picture", pictures);
  const what = menu("output", ["of the last step alone", "mean of all steps"]);
  const cut = box("cut the gradient through the reset", false);
  const loop = box("feedback", true);
  let found = compute();

  function compute() {
    const one = networks[which.value];
    const { net, trained, hidden } = load(one, cells, SIDE, cut.value ? 0 : one.cuts.length - 1);
    loop.hidden = !hidden.hasLoop;
    hidden.isFedBack = hidden.hasLoop && loop.value;
    const given = range(SIDE).map((t) => {
      const g = new Float64Array(classes.length);
      g[labels[picture.value]] = trained.scale * (what.value === 0 ? Number(t === SIDE - 1) : 1 / SIDE);
      return g;
    });
    net.forward(columnsOf(element(pixels, picture.value, SIDE * SIDE)));
    net.backward(given);
    const columns = net.layers[0].g;
    return { columns, hidden: hidden.g, norms: columns.map((column) => Math.hypot(...column)) };
  }

  const description = "gradient of an output to each pixel and to each hidden neuron, and its norm by column";
  const chart = new Chart(description, () => {
    const color = colorOf(names[which.value]);
    const x = range(SIDE);
    const y = found.norms.map((norm) => Math.log10(Math.max(norm, 1e-12)));
    const [low, high] = [Math.floor(Math.min(...y)), Math.ceil(Math.max(...y) + 1e-9)];
    /** @param {string} title @param {Float64Array[]} seq @param {string} yLabel */
    const sizes = (title, seq, yLabel) => {
      const most = Math.max(1e-300, ...seq.flatMap((step) => Array.from(step, Math.abs)));
      const shades = seq.map((step) => step.map((g) => 1 + Math.log10(Math.abs(g) / most) / POWERS));
      return raster(shades, { height: 110, title, yLabel, color });
    };
    return [
      sizes("gradient to each pixel (faint: 1/10,000)", found.columns, "row"),
      sizes("to each hidden neuron", found.hidden, "neuron"),
      {
        ...{ height: 120, x: [-0.5, SIDE - 0.5], y: [low, high], xLabel: "column t", yLabel: "log\u2081\u2080 norm" },
        title: "norm of the gradient to each column",
        marks: [
          { kind: "line", x, y, color },
          { kind: "dots", x, y, color },
        ],
      },
    ];
  });

  return {
    controls: [
      [which, picture, what],
      [cut, loop],
    ],
    figures: [chart.canvas],
    numbers: () => ({ columns: found.columns.map((one) => Array.from(one)), norms: found.norms }),
    update() {
      found = compute();
      const [first, last] = [found.norms[0], found.norms[SIDE - 1]];
      const of = `${Number(((100 * first) / last).toPrecision(2))} %`;
      return last === 0
        ? "No gradient reaches the last column."
        : `The gradient of the output for ${classes[labels[picture.value]]} to column 0 is ${of} of that to column 27.`;
    },
  };
};
