/** How an image arrives at a network: one column or one row in each time step. */

import { Chart, raster } from "./chart.js";
import { COLORS } from "./colors.js";
import { make, menu, slider } from "./controls.js";
import { bytes, columnsOf, element, range, SIDE, sum } from "./numbers.js";
import { player } from "./player.js";

/**
 * @typedef {{images: string, names: string[], first: number}} ReadingData
 *   `images` [n, 28, 28] packed, 0 to 255, as they are seen; `names` of their classes; `first` is the step shown at first.
 */

/** How dark the ground is on which pixels lie that have not been read, and how much of their ink is shown. */
const GROUND = 0.08;
const DIM = 0.22;
const ALL = range(SIDE);

/** @type {import("./view.js").Build<ReadingData>} */
export const reading = ({ images, names, first }) => {
  const pixels = bytes(images);
  const labels = names.map((name, k) => `${k}: ${name}`);
  const picture = menu("image", labels);
  const order = menu("read by", ["column", "row"]);
  const step = slider("time step t", { max: SIDE - 1, value: first });
  const plays = player(step);
  const line = () => ["column", "row"][order.value];
  const isRead = (/** @type {number} */ t) => t <= step.value;

  /** Return columns for rows where a picture is read by rows. @param {number[][]} columns */
  const inOrder = (columns) => (order.value === 0 ? columns : ALL.map((y) => columns.map((column) => column[y])));
  /** The inputs of all steps, in [0, 1]. */
  const sequence = () => inOrder(columnsOf(element(pixels, picture.value, SIDE * SIDE)));

  const seen = new Chart("the image, with a frame around what is read in this step", () => {
    const shades = sequence().map((x, t) => x.map((grey) => (isRead(t) ? grey : GROUND + DIM * grey)));
    const title = `${names[picture.value]}, ${line()} ${step.value}`;
    const labels = { title, xLabel: "column of the image", yLabel: "row of the image" };
    return [raster(inOrder(shades), { [line()]: step.value, isSquare: true, ...labels })];
  });

  const now = new Chart("the 28 grey values of this step", () => {
    const points = { x: sequence()[step.value], y: ALL, color: COLORS.input };
    return [
      {
        ...{ x: [0, 1], y: [SIDE - 0.5, -0.5] },
        ...{ title: `input at t = ${step.value}`, xLabel: "x[t, i]", yLabel: "feature i" },
        marks: [
          { kind: "line", ...points },
          { kind: "dots", ...points, size: 2.5 },
        ],
      },
    ];
  });

  const sofar = new Chart("the inputs of all steps so far, side by side", () => {
    const columns = sequence().map((x, t) => x.map((grey) => (isRead(t) ? grey : GROUND)));
    const labels = { title: "input so far", xLabel: "time step t", yLabel: "feature i" };
    return [raster(columns, { column: step.value, isSquare: true, ...labels })];
  });

  return {
    controls: [
      [picture, order],
      [step, ...plays.buttons],
    ],
    figures: [make("div", { className: "snn-panels" }, seen.canvas, now.canvas, sofar.canvas)],
    numbers: () => ({ image: picture.value, order: line(), t: step.value, sequence: sequence() }),
    update() {
      // While it plays, nothing new is said, for the sake of those who hear it.
      if (plays.isPlaying()) return `${names[picture.value]}: one ${line()} in each step.`;
      const inks = sequence().map(sum);
      const ink = sequence()[step.value].filter((x) => x > 0).length;
      const share = sum(inks.filter((_, t) => isRead(t))) / (sum(inks) || 1);
      return (
        `Step ${step.value} is ${line()} ${step.value} of image ${picture.value} (${names[picture.value]}): ` +
        `${ink} of its 28 pixels are not 0. ${(100 * share).toFixed(0)} % of the image's ink has been read.`
      );
    },
  };
};
