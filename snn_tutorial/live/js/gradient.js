/** How far back the gradient of an output reaches, in each of the trained networks, side by side. */

import { Chart, raster } from "./chart.js";
import { colorOf } from "./colors.js";
import { box, make, menu } from "./controls.js";
import { bytes, columnsOf, element, range, SIDE } from "./numbers.js";
import { load } from "./scan.js";

/**
 * @typedef {{networks: import("./scan.js").Trained[], cells: import("./scan.js").Cells, classes: string[],
 *   images: string, labels: number[], isCut: boolean, isMean: boolean}} GradientData
 */

/** Powers of ten below the largest gradient that are still seen, and below 1 at the end of the axis of norms. */
const POWERS = 4;
const LOWEST = -6;

/** @type {import("./view.js").Build<GradientData>} */
export const gradient = ({ networks, cells, classes, images, labels, isCut, isMean }) => {
  const pixels = bytes(images);
  const picture = menu(
    "picture",
    labels.map((label, k) => `${k}: ${classes[label]}`),
  );
  const what = menu("output", ["of the last step alone", "mean of all steps"], Number(isMean));
  const cut = box("cut the gradient through the reset", isCut);
  const loop = box("feedback", true);
  let [found, uncut] = [compute(isCut), compute(false)];

  /** @param {boolean} isAll */
  function compute(isAll) {
    return networks.map((one) => {
      const { net, trained, hidden } = load(one, cells, SIDE, isAll ? 0 : one.cuts.length - 1);
      hidden.isFedBack = hidden.hasLoop && loop.value;
      const given = range(SIDE).map((t) => {
        const g = new Float64Array(classes.length);
        g[labels[picture.value]] = trained.scale * (what.value === 0 ? Number(t === SIDE - 1) : 1 / SIDE);
        return g;
      });
      net.forward(columnsOf(element(pixels, picture.value, SIDE * SIDE)));
      net.backward(given);
      const columns = net.layers[0].g;
      return { columns, norms: columns.map((column) => Math.hypot(...column)) };
    });
  }

  const panels = networks.map(({ name }, k) => {
    const chart = new Chart(`gradient to each pixel, ${name}`, (width) => {
      const { columns } = found[k];
      const most = Math.max(1e-300, ...columns.flatMap((step) => Array.from(step, Math.abs)));
      const shades = columns.map((step) => step.map((g) => 1 + Math.log10(Math.abs(g) / most) / POWERS));
      return [raster(shades, { isBare: true, height: width, color: colorOf(name) })];
    });
    return make("div", {}, make("strong", {}, name), chart.canvas);
  });
  const norms = new Chart("norm of the gradient to each column in all networks", () => {
    const lines = found.map(({ norms }, k) => ({
      ...{ name: networks[k].name, color: colorOf(networks[k].name) },
      y: norms.map((norm) => Math.max(LOWEST - 1, Math.log10(norm || 1e-300))),
    }));
    const high = Math.max(1, ...lines.map(({ y }) => Math.ceil(Math.max(...y))));
    return [
      {
        ...{
          height: 170,
          x: [-0.5, SIDE - 0.5],
          y: [LOWEST, high],
          xLabel: "column t",
          yLabel: "log\u2081\u2080 norm",
        },
        title: "norm of the gradient to each column",
        marks: lines.map(({ y, color, name }) => ({ kind: "line", x: range(SIDE), y, color, label: name })),
      },
    ];
  });

  /** Return how much of the gradient to the last column the first one gets. @param {{norms: number[]}} one */
  const reach = ({ norms }) => {
    const ratio = norms[0] / norms[SIDE - 1];
    const [number, unit] = ratio < 10 ? [100 * ratio, "%"] : [ratio, "times as much"];
    return norms[SIDE - 1] ? `${Number(number.toPrecision(2)).toLocaleString("en")} ${unit}` : "none";
  };

  return {
    controls: [
      [picture, what],
      [cut, loop],
    ],
    figures: [make("div", { className: "snn-cards" }, ...panels), norms.canvas],
    numbers: () =>
      Object.fromEntries(
        found.map(({ columns, norms }, k) => [networks[k].name, { columns: columns.map((one) => [...one]), norms }]),
      ),
    update() {
      uncut = compute(false);
      found = cut.value ? compute(true) : uncut;
      const shares = networks.map(({ name }, k) => {
        const [to, without] = [found[k].norms[0], uncut[k].norms[0]];
        const change =
          cut.value && without ? ` (${Number((to / without).toPrecision(2))} times that without the cut)` : "";
        return `${name} ${reach(found[k])}${change}`;
      });
      return `Column 0 receives, of what column 27 receives: ${shares.join(", ")}. Faint pixels get 1/10,000 of the largest.`;
    },
  };
};
