/** How far back the gradient of an output reaches, in each of the trained networks. */

import { columnsOf, load, SIDE } from "./activity.js";
import { Backward } from "./backward.js";
import { bytes } from "./bytes.js";
import { BLUE, Chart, ORANGE, VERMILION } from "./chart.js";
import { box, menu } from "./controls.js";
import { logTicks } from "./logarithm.js";

/**
 * @typedef {import("./activity.js").Trained & {backs: (import("./backward.js").CellBack | null)[][]}} Traced
 *   `backs` of the layers with the gradient through the reset, and with it cut.
 * @typedef {{networks: Traced[], cells: Record<string, import("./scan.js").CellStep>, classes: string[],
 *   images: string, labels: number[]}} GradientData
 */

/**
 * @param {GradientData} data
 * @returns {import("./view.js").View}
 */
export function gradient(data) {
  const images = bytes(data.images);
  const loaded = load(data.networks, data.cells);
  const names = data.networks.map(({ name }) => name);
  const which = menu("network", names, names.length - 1);
  const picture = menu(
    "picture",
    data.labels.map((label, k) => `${k}: ${data.classes[label]}`),
  );
  const what = menu("output", ["of the last step alone", "mean of all steps"]);
  const cut = box("cut the gradient through the reset", false);
  const loop = box("feedback", true);
  const time = Array.from({ length: SIDE }, (_, t) => t);
  /** @type {Float64Array[]} */
  let hidden = [];
  /** @type {Float64Array[]} */
  let columns = [];
  /** @type {number[]} */
  let norms = [];

  function compute() {
    const { net, trained } = loaded[which.value];
    const layer = /** @type {import("./scan.js").Cells} */ (net.layers[trained.hidden]);
    layer.isFedBack = loop.value && layer.stage.feedback !== null;
    loop.element.hidden = layer.stage.feedback === null;
    const pixels = images.subarray(picture.value * SIDE * SIDE, (picture.value + 1) * SIDE * SIDE);
    const given = time.map((t) => {
      const g = new Float64Array(data.classes.length);
      const share = what.value === 0 ? Number(t === SIDE - 1) : 1 / SIDE;
      g[data.labels[picture.value]] = share * trained.scale;
      return g;
    });
    const taken = new Backward(net, trained.backs[Number(cut.value)], SIDE);
    taken.forward(columnsOf(pixels, 0, 0));
    taken.backward(given);
    columns = taken.kept.map((layers) => layers[0].g);
    hidden = taken.kept.map((layers) => layers[trained.hidden].g);
    norms = columns.map((column) => Math.hypot(...column));
  }

  const chart = new Chart(
    "gradient of an output to each pixel and to each hidden neuron, and its norm by column",
    () => {
      /** @type {[number, number]} */
      const x = [0, SIDE];
      const logs = norms.map((norm) => Math.log10(Math.max(norm, 1e-12)));
      const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs) + 1e-9)];
      return [
        {
          height: 112,
          x,
          y: [SIDE, 0],
          yLabel: "row",
          yTicks: [],
          title: "gradient to each pixel",
          marks: signed(columns),
        },
        {
          height: 96,
          x,
          y: [hidden[0].length, 0],
          yLabel: "neuron",
          title: "to each hidden neuron",
          marks: signed(hidden),
        },
        {
          height: 120,
          x: [-0.5, SIDE - 0.5],
          y: [low, high],
          xLabel: "column t",
          yLabel: "norm",
          title: "norm of the gradient to each column",
          yTicks: logTicks(low, high),
          marks: [
            { kind: "line", x: time, y: logs, color: VERMILION },
            { kind: "dots", x: time, y: logs, color: VERMILION },
          ],
        },
      ];
    },
  );

  return {
    controls: [
      [which.element, picture.element, what.element],
      [cut.element, loop.element],
    ],
    figures: [chart.canvas],
    numbers: () => ({ columns: columns.map((one) => Array.from(one)), norms }),
    update() {
      compute();
      chart.draw();
      const share = norms[0] / norms[SIDE - 1];
      const of = `${Number((100 * share).toPrecision(2))} %`;
      return norms[SIDE - 1] === 0
        ? "No gradient reaches the last column."
        : `The gradient of the output for ${data.classes[data.labels[picture.value]]} to column 0 is ${of} of that to column 27.`;
    },
  };
}

/**
 * Return rows of squares for a sequence, with one colour above 0 and one below.
 * @param {Float64Array[]} seq
 * @returns {import("./chart.js").Mark[]}
 */
function signed(seq) {
  const high = Math.max(1e-300, ...seq.flatMap((step) => Array.from(step, Math.abs)));
  return [1, -1].map((sign) => ({
    kind: /** @type {const} */ ("grid"),
    values: Array.from(
      { length: seq.length * seq[0].length },
      (_, k) => sign * seq[k % seq.length][Math.floor(k / seq.length)],
    ),
    columns: seq.length,
    high,
    color: sign > 0 ? BLUE : ORANGE,
    label: sign > 0 ? "> 0" : "< 0",
  }));
}
