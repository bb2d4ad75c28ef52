/** What of a loss reaches each hidden neuron in each step: the loop and the reset are under the reader's hand. */

import { Chart, raster } from "./chart.js";
import { colorOf } from "./colors.js";
import { box, make, menu, slider } from "./controls.js";
import { bytes, columnsOf, element, range, SIDE } from "./numbers.js";
import { load } from "./scan.js";

/**
 * @typedef {{network: import("./scan.js").Trained, cells: import("./scan.js").Cells, classes: string[],
 *   images: string, labels: number[]}} GradientData
 */

/** Powers of ten below the largest gradient that are still seen, and the ends of the axis of norms. */
const POWERS = 7;
const [LOWEST, HIGHEST] = [-6, 6];
/** Where the reset is detached from the gradient. */
const WAYS = { detached: "in hidden neurons", attached: "nowhere" };

/** @type {import("./view.js").Build<GradientData>} */
export const gradient = ({ network, cells, classes, images, labels }) => {
  const pixels = bytes(images);
  const picture = menu(
    "picture",
    labels.map((label, k) => `${k}: ${classes[label]}`),
  );
  const times = slider("weights of the loop, times", { max: 1.5, step: 0.05, value: 1 });
  const isDetached = box("detach the reset", true);
  let found = { detached: compute("detached"), attached: compute("attached") };
  const shown = () => /** @type {keyof typeof WAYS} */ (isDetached.value ? "detached" : "attached");

  /** Return the gradient of the loss to what comes into each hidden neuron in each step. @param {keyof typeof WAYS} way */
  function compute(way) {
    const { net, hidden, trained } = load(network, cells, SIDE, WAYS[way]);
    const { weight, inputs, columns } = hidden;
    hidden.weight = Float64Array.from(weight, (one, k) => (k % columns < inputs ? one : times.value * one));
    const outputs = net.forward(columnsOf(element(pixels, picture.value, SIDE * SIDE)));
    const given = Float64Array.from(classes, (_, k) => {
      const rate = (trained.scale * outputs.reduce((sum, step) => sum + step[k], 0)) / SIDE;
      return (2 * trained.scale * (rate - Number(k === labels[picture.value]))) / classes.length / SIDE;
    });
    net.backward(outputs.map(() => given));
    return { neurons: hidden.g, norms: hidden.g.map((step) => Math.hypot(...step)) };
  }

  const neurons = new Chart("size of the gradient to each hidden neuron in each step", () => {
    const steps = found[shown()].neurons;
    const most = Math.max(1e-300, ...steps.flatMap((step) => Array.from(step, Math.abs)));
    const shades = steps.map((step) => step.map((g) => 1 + Math.log10(Math.abs(g) / most) / POWERS));
    return [
      raster(shades, {
        ...{ height: 190, color: colorOf(network.name), xLabel: "time step", yLabel: "hidden neuron" },
        title: `gradient to each hidden neuron, ${shown()}`,
      }),
    ];
  });
  const norms = new Chart("norm of the gradient to the hidden neurons in each step", () => [
    {
      ...{ height: 170, x: [-0.5, SIDE - 0.5], y: [LOWEST, HIGHEST], xLabel: "time step" },
      ...{ yLabel: "log\u2081\u2080 norm", title: "norm of the gradient to all hidden neurons" },
      marks: Object.entries(found).map(([way, one]) => ({
        ...{ kind: "line", x: range(SIDE), color: colorOf(network.name), label: way, dashed: way !== shown() },
        y: one.norms.map((norm) => Math.max(LOWEST - 1, Math.log10(norm || 1e-300))),
      })),
    },
  ]);

  /** Say by how much the gradient grows. @param {keyof typeof WAYS} way */
  const growth = (way) => {
    const { norms } = found[way];
    const factor = norms[0] / norms[SIDE - 1];
    return norms[SIDE - 1] ? `${Number(factor.toPrecision(2)).toLocaleString("en")} ${way}` : `undefined ${way}`;
  };

  return {
    controls: [[picture], [times, isDetached]],
    figures: [make("div", {}, neurons.canvas, norms.canvas)],
    numbers: () =>
      Object.fromEntries(Object.entries(found).map(([way, one]) => [way, one.neurons.map((step) => [...step])])),
    update() {
      found = { detached: compute("detached"), attached: compute("attached") };
      return `The norm in step 0 divided by that in step 27: ${growth("detached")}, ${growth("attached")}. A neuron without colour gets 10 million times less than the strongest.`;
    },
  };
};
