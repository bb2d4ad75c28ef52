/** The end of a picture is blank, and states are cleared there: which network still knows it? */

import { Chart, raster } from "./chart.js";
import { COLORS, colorOf } from "./colors.js";
import { box, make, menu, slider } from "./controls.js";
import { bytes, columnsOf, element, largest, range, SIDE, sum } from "./numbers.js";
import { player } from "./player.js";
import { load } from "./scan.js";

/**
 * @typedef {{networks: import("./scan.js").Trained[], cells: import("./scan.js").Cells, images: string,
 *   first: number, labels: number[], classes: string[]}} BlankData  `images` [n, 28, 28] are packed.
 * @typedef {{hidden: Float64Array[], output: Float64Array[]}} Activity  Spikes in each step.
 */

const NOTHING = range(SIDE).map(() => 0);

/** @type {import("./view.js").Build<BlankData>} */
export const blank = ({ networks, cells, first, images, labels, classes }) => {
  const pixels = bytes(images);
  const loaded = networks.map((one) => load(one, cells, SIDE));
  const image = menu(
    "picture",
    labels.map((label, k) => `${k}: ${classes[label]}`),
    first,
  );
  const from = slider("blank from column", { max: SIDE, value: SIDE / 2 });
  const clears = {
    hidden: box("clear hidden potentials", false),
    currents: box("clear currents and last spikes", false),
    output: box("clear output potentials", false),
  };
  const states = make("details", {}, make("summary", {}, "clear states at the blank"));
  states.append(make("div", { className: "snn-row" }, ...Object.values(clears)));
  const time = slider("columns read", { max: SIDE, value: SIDE / 2 }); // what follows is the reader's question
  const plays = player(time, 150);

  const columns = () =>
    columnsOf(element(pixels, image.value, SIDE * SIDE)).map((column, t) => (t < from.value ? column : NOTHING));

  /** @param {import("./scan.js").Loaded} loaded @returns {Activity} */
  function run({ net, hidden, synapse }) {
    const output = net.layers[net.layers.length - 1];
    /** Set the states before step t to what they are at first. @param {import("./scan.js").Layer} layer @param {number} t */
    const forget = (layer, t) => {
      for (const [k, state] of layer.v[t].entries()) state.fill(layer.cell?.initial[k] ?? 0);
    };
    /** @type {Activity} */
    const seen = { hidden: [], output: [] };
    for (const [t, column] of columns().entries()) {
      if (t === from.value) {
        if (clears.hidden.value) forget(hidden, t);
        if (clears.output.value) forget(output, t);
        if (clears.currents.value && synapse) forget(synapse, t);
        if (clears.currents.value && t > 0) hidden.y[t - 1].fill(0);
      }
      let x = /** @type {Float64Array} */ (/** @type {unknown} */ (column));
      for (const layer of net.layers) x = layer.forward(t, x);
      seen.hidden.push(hidden.y[t].slice());
      seen.output.push(output.y[t].slice());
    }
    return seen;
  }
  let activities = loaded.map(run);

  /** Count output spikes since the picture began, or since the blank. @param {Activity} activity @param {number} steps */
  function counts({ output }, steps) {
    const begin = steps > from.value ? from.value : 0;
    return classes.map((_, label) => sum(output.slice(begin, steps).map((s) => s[label])));
  }

  /** Return the share of the right class in these spikes, and the answer, if there is any spike. @param {number[]} count */
  function verdict(count) {
    const all = sum(count);
    return { share: all ? count[labels[image.value]] / all : 0, answer: all ? largest(count) : null };
  }

  /** @param {number} k @param {number} width @returns {import("./chart.js").Panel[]} */
  function panels(k, width) {
    const [activity, color] = [activities[k], colorOf(networks[k].name)];
    const bare = { isBare: true, x: [-0.5, SIDE - 0.5] };
    const soFar = (/** @type {ArrayLike<number>[]} */ series) =>
      series.map((step, t) => (t < time.value ? step : new Float64Array(step.length)));
    const shares = range(time.value).map((t) => verdict(counts(activity, t + 1)).share);
    const found = [
      raster(soFar(columns()), { ...bare, height: width * 0.8, title: "input" }),
      raster(soFar(activity.hidden), { ...bare, height: width * 0.5, title: "hidden spikes", color: COLORS.spike }),
      raster(soFar(activity.output), {
        ...{ ...bare, height: width * 0.35, title: "output spikes", color: COLORS.spike },
        row: labels[image.value],
      }),
      {
        ...{ ...bare, y: [0, 1], height: 44, title: "share, 0 to 1" },
        marks: [{ kind: /** @type {const} */ ("bars"), x: range(time.value), y: shares, width: 1, color }],
      },
    ];
    const end = { x: [from.value - 0.5, from.value - 0.5], color: COLORS.threshold, width: 1, dashed: true };
    return found.map((panel) => ({
      ...panel,
      marks: [...panel.marks, { kind: /** @type {const} */ ("line"), ...end, y: panel.y }],
    }));
  }

  const cards = networks.map(({ name }, k) => {
    const says = make("div", { className: "snn-answer" });
    const chart = new Chart(`${name}: input, hidden spikes, output spikes, share of the right class`, (width) =>
      panels(k, width),
    );
    return { says, element: make("div", {}, make("div", {}, name), says, chart.canvas) };
  });

  return {
    controls: [[image, from], [...plays.buttons, time], [states]],
    figures: [make("div", { className: "snn-cards" }, ...cards.map((card) => card.element))],
    numbers: () =>
      Object.fromEntries(
        activities.map((activity, k) => [
          networks[k].name,
          {
            hidden: activity.hidden.map((s) => Array.from(s)),
            output: activity.output.map((s) => Array.from(s)),
            answer: verdict(counts(activity, time.value)).answer,
          },
        ]),
      ),
    update() {
      activities = loaded.map(run);
      const right = [];
      for (const [k, { says }] of cards.entries()) {
        const { answer } = verdict(counts(activities[k], time.value));
        const isRight = answer === labels[image.value];
        says.textContent = answer === null ? "\u2013" : `${isRight ? "\u2713" : "\u2717"} ${classes[answer]}`;
        says.classList.toggle("wrong", !isRight);
        if (isRight) right.push(networks[k].name);
      }
      if (plays.isPlaying()) return "The picture is being read.";
      const since = time.value > from.value ? "in the blank columns" : "in the columns read so far";
      const cleared = Object.values(clears).filter((one) => one.value && from.value < SIDE);
      const lost = cleared.map(({ input }) => input.ariaLabel?.replace("clear ", "")).join(", ");
      return `By their output spikes ${since}, right: ${right.join(", ") || "none"}.${lost && ` Cleared: ${lost}.`}`;
    },
  };
};
