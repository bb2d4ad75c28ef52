/** How far back the gradient of an output reaches, in each of the trained networks. */

import { columnsOf, load, SIDE } from "./activity.js";
import { Backward } from "./backward.js";
import { bytes } from "./bytes.js";
import { Chart } from "./chart.js";
import { colorOf } from "./colors.js";
import { box, menu } from "./controls.js";

/**
 * @typedef {import("./activity.js").Trained & {backs: (import("./backward.js").CellBack | null)[][]}} Traced
 *   `backs` of the layers with the gradient through the reset, and with it cut.
 * @typedef {{networks: Traced[], cells: Record<string, import("./scan.js").CellStep>, classes: string[],
 *   images: string, labels: number[]}} GradientData
 */

/** Powers of ten below the largest gradient that are still seen. */
const POWERS = 4;

/**
 * @param {GradientData} data
 * @returns {import("./view.js").View}
 */
export function gradient({ networks, cells, classes, images, labels }) {
  const pixels = bytes(images);
  const loaded = load(networks, cells);
  const names = networks.map(({ name }) => name);
  const which = menu("network", names, names.length - 1);
  const picture = menu(
    "picture",
    labels.map((label, k) => `${k}: ${classes[label]}`),
  );
  const what = menu("output", ["of the last step alone", "mean of all steps"]);
  const cut = box("cut the gradient through the reset", false);
  const loop = box("feedback", true);
  const time = Array.from({ length: SIDE }, (_, t) => t);
  /** @type {{hidden: Float64Array[], columns: Float64Array[], norms: number[]}} */
  let found = { hidden: [], columns: [], norms: [] };

  function compute() {
    const { net, trained, hidden } = loaded[which.value];
    hidden.isFedBack = loop.value && hidden.stage.feedback !== null;
    loop.element.hidden = hidden.stage.feedback === null;
    const given = time.map((t) => {
      const g = new Float64Array(classes.length);
      const share = what.value === 0 ? Number(t === SIDE - 1) : 1 / SIDE;
      g[labels[picture.value]] = share * trained.scale;
      return g;
    });
    const taken = new Backward(net, networks[which.value].backs[Number(cut.value)], SIDE);
    taken.forward(columnsOf(pixels.subarray(picture.value * SIDE * SIDE), 0, 0));
    taken.backward(given);
    const columns = taken.kept.map((layers) => layers[0].g);
    const norms = columns.map((column) => Math.hypot(...column));
    found = { columns, norms, hidden: taken.kept.map((layers) => layers[trained.hidden].g) };
  }

  const description = "gradient of an output to each pixel and to each hidden neuron, and its norm by column";
  const chart = new Chart(description, () => {
    const x = [-0.5, SIDE - 0.5];
    const color = colorOf(names[which.value]);
    const logs = found.norms.map((norm) => Math.log10(Math.max(norm, 1e-12)));
    const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs) + 1e-9)];
    const powers = Array.from({ length: high - low + 1 }, (_, k) => low + k).filter(
      (k) => k % 2 === 0 || high - low < 6,
    );
    /**
     * @param {string} title
     * @param {Float64Array[]} seq
     * @returns {import("./chart.js").Panel}
     */
    const sizes = (title, seq) => {
      const most = Math.max(1e-300, ...seq.flatMap((step) => Array.from(step, Math.abs)));
      const values = Array.from(seq[0].keys()).flatMap((j) =>
        seq.map((step) => 1 + Math.log10(Math.abs(step[j]) / most) / POWERS),
      );
      return {
        height: 110,
        x,
        y: [seq[0].length - 0.5, -0.5],
        title,
        marks: [{ kind: "grid", values, columns: SIDE, high: 1, color }],
      };
    };
    return [
      { ...sizes("gradient to each pixel (faint: 1/10,000)", found.columns), yLabel: "row" },
      { ...sizes("to each hidden neuron", found.hidden), yLabel: "neuron" },
      {
        height: 120,
        x,
        y: [low, high],
        xLabel: "column t",
        yLabel: "norm",
        title: "norm of the gradient to each column",
        yTicks: powers,
        yNames: powers.map((power) => `1e${power}`.replace("-", "\u2212")),
        marks: [
          { kind: "line", x: time, y: logs, color },
          { kind: "dots", x: time, y: logs, color },
        ],
      },
    ];
  });

  return {
    controls: [
      [which.element, picture.element, what.element],
      [cut.element, loop.element],
    ],
    figures: [chart.canvas],
    numbers: () => ({ columns: found.columns.map((one) => Array.from(one)), norms: found.norms }),
    update() {
      compute();
      chart.draw();
      const [first, last] = [found.norms[0], found.norms[SIDE - 1]];
      const of = `${Number(((100 * first) / last).toPrecision(2))} %`;
      return last === 0
        ? "No gradient reaches the last column."
        : `The gradient of the output for ${classes[labels[picture.value]]} to column 0 is ${of} of that to column 27.`;
    },
  };
}
