/** How a picture arrives at a network: one column or one row of it in each time step. */

import { bytes } from "./bytes.js";
import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { make, menu, slider } from "./controls.js";
import { player } from "./player.js";

/**
 * @typedef {{images: string, names: string[], first: number}} ReadingData
 *   `images` [n, 28, 28] packed, 0 to 255, as they are seen; `names` of their classes; `first` is the step shown at first.
 */

const SIDE = 28;
/** How dark the ground is on which pixels lie that have not been read, and how much of their ink is shown. */
const GROUND = 0.08;
const DIM = 0.22;
const ENDS = [-0.5, SIDE - 0.5];
const TICKS = [0, 9, 18, 27];

/**
 * @param {ReadingData} data
 * @returns {import("./view.js").View}
 */
export function reading({ images, names, first }) {
  const pixels = bytes(images);
  const picture = menu(
    "image",
    names.map((name, k) => `${k}: ${name}`),
  );
  const order = menu("read by", ["column", "row"]);
  const step = slider("time step t", { max: SIDE - 1, value: first });
  const plays = player(step);
  const line = () => ["column", "row"][order.value];
  const all = Array.from({ length: SIDE }, (_, k) => k);

  /**
   * Return the grey value, 0 to 1, of feature i in step t.
   * @param {number} t
   * @param {number} i
   */
  function grey(t, i) {
    const [row, column] = order.value === 0 ? [i, t] : [t, i];
    return pixels[(picture.value * SIDE + row) * SIDE + column] / 255;
  }
  const input = () => all.map((i) => grey(step.value, i));
  /** What has come, features below each other and time to the right, and null for what has not. */
  const come = () => all.flatMap((i) => all.map((t) => (t <= step.value ? grey(t, i) : null)));

  /**
   * Return a square with a frame around column or row t.
   * @param {number[]} values
   * @param {boolean} isColumn
   */
  function square(values, isColumn) {
    const [along, over] = [[-0.5, 0.5, 0.5, -0.5, -0.5].map((d) => step.value + d), [-0.5, -0.5, 27.5, 27.5, -0.5]];
    const [x, y] = isColumn ? [along, over] : [over, along];
    return {
      ...{ x: ENDS, y: ENDS.toReversed(), xTicks: TICKS, yTicks: TICKS, isSquare: true },
      marks: /** @type {import("./chart.js").Mark[]} */ ([
        { kind: "grid", values, columns: SIDE, high: 1 },
        { kind: "line", x, y, color: COLORS.input },
      ]),
    };
  }

  /** The side of both pictures in pixels of the page, as large as there is room beside the axis. */
  const height = () => Math.max(100, Math.min(210, seen.canvas.clientWidth - 64));

  const seen = new Chart("the picture, with a frame around what is read in this step", () => {
    const isColumn = order.value === 0;
    const values = all.flatMap((row) =>
      all.map((column) => {
        const [t, i] = isColumn ? [column, row] : [row, column];
        return t <= step.value ? grey(t, i) : GROUND + DIM * grey(t, i);
      }),
    );
    return [
      {
        ...square(values, isColumn),
        height: height(),
        title: `${names[picture.value]}, ${line()} ${step.value}`,
        xLabel: "column of the picture",
        yLabel: "row of the picture",
      },
    ];
  });

  const now = new Chart("the 28 grey values of this step as bars", () => [
    {
      height: height(),
      x: [0, 1],
      y: ENDS.toReversed(),
      xTicks: [0, 0.5, 1],
      yTicks: TICKS,
      title: `input at t = ${step.value}`,
      xLabel: "x[t, i]",
      yLabel: "feature i",
      marks: [{ kind: "rows", x: input(), y: all, color: COLORS.input }],
    },
  ]);

  const sofar = new Chart("the inputs of all steps so far, side by side", () => [
    {
      ...square(
        come().map((x) => x ?? GROUND),
        true,
      ),
      height: height(),
      title: "what has come so far",
      xLabel: "time step t",
      yLabel: "feature i",
    },
  ]);
  const charts = [seen, now, sofar];
  for (const [k, basis] of ["12.5rem", "8rem", "12.5rem"].entries()) charts[k].canvas.style.flexBasis = basis;

  return {
    controls: [
      [picture.element, order.element],
      [step.element, ...plays.buttons],
    ],
    figures: [make("div", { className: "snn-panels" }, ...charts.map((chart) => chart.canvas))],
    numbers: () => ({ image: picture.value, order: line(), t: step.value, input: input(), come: come() }),
    update() {
      for (const chart of charts) chart.draw();
      // While it plays, nothing new is said, for the sake of those who hear it.
      if (plays.isPlaying()) return `${names[picture.value]}: one ${line()} in each step.`;
      const ink = input().filter((x) => x > 0).length;
      const sum = (/** @type {number[]} */ values) => values.reduce((a, b) => a + b, 0);
      const inks = all.map((t) => sum(all.map((i) => grey(t, i))));
      const share = sum(inks.slice(0, step.value + 1)) / (sum(inks) || 1);
      return (
        `Step ${step.value} is ${line()} ${step.value} of image ${picture.value} (${names[picture.value]}): ` +
        `${ink} of its 28 pixels are not 0. So far ${(100 * share).toFixed(0)} % of the picture's ink has come.`
      );
    },
  };
}
