/** The trained networks: a picture enters column by column, and everything that happens inside is seen. */

import { Chart, raster } from "./chart.js";
import { COLORS } from "./colors.js";
import { box, button, changed, make, menu, slider } from "./controls.js";
import { bytes, columnsOf, counted, element, largest, range, SIDE, sum } from "./numbers.js";
import { Pad, prepared } from "./pad.js";
import { player } from "./player.js";
import { load } from "./scan.js";

/**
 * @typedef {{networks: import("./scan.js").Trained[], cells: import("./scan.js").Cells, classes: string[], images: string,
 *   labels: number[], network: number, drawsFirst: boolean}} NetworkData
 *   The network that is shown first; `drawsFirst`: the view invites to draw over its picture, and each stroke is read at
 *   once.
 */

/** How far below 0, in thresholds, a membrane is drawn: inhibition may drive it a hundred times as far. */
const DEPTH = 4;
/** Blank columns after a picture, at most. */
const BLANK = 56;
/** A blank column. */
const NOTHING = range(SIDE).map(() => 0);
const TAUS = [1.1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100];

/** @type {import("./view.js").Build<NetworkData>} */
export const network = ({ networks, cells, classes, images, labels, network: first, drawsFirst }) => {
  const pixels = bytes(images);
  const loaded = networks.map((one) => load(one, cells, SIDE + BLANK));
  const names = networks.map(({ name }) => name);
  const pictures = [...labels.map((label, k) => `${k}: ${classes[label]}`), "your drawing"];
  const trainedTau = networks.find((one) => one.tau)?.tau ?? 2;
  const taus = [trainedTau, ...TAUS].sort((a, b) => a - b);
  const which = menu("network", names, first);
  const image = menu("picture", pictures);
  const blank = slider("blank columns after it", { max: BLANK, value: 0 });
  const threshold = slider("threshold", { min: 0.5, max: 2, step: 0.05, value: 1 });
  const tau = slider("tau of the synapse", { values: taus, value: trainedTau, unit: "steps" });
  const loop = box("feedback", true);
  const neuron = slider("hidden neuron", { value: 0 });
  const time = slider("columns read", { max: SIDE, value: drawsFirst ? 0 : SIDE });
  const plays = player(time);
  const isDrawing = () => image.value === labels.length;
  const pad = new Pad("the picture", () => {
    image.value = labels.length;
    changed(image.input);
  });
  const clear = button("clear", () => {
    pad.set();
    pad.drawn();
  });
  if (drawsFirst) {
    // A picture is read until the first stroke, which begins a drawing over its outline.
    requestAnimationFrame(() => plays.begin(0));
    pad.ghost = pixels.slice(0, SIDE * SIDE);
    const begin = () => isDrawing() || pad.set();
    pad.canvas.addEventListener("pointerdown", begin, { capture: true });
    pad.canvas.addEventListener("keydown", ({ key }) => key === " " && begin(), { capture: true });
    pad.canvas.addEventListener("pointerup", () => plays.begin(0));
  }

  let shown = { image: -1, network: -1 };
  let activity = activityOf(loaded[first]);
  const rows = classes.map((name) => {
    const [meter, percent] = [make("meter", { max: 1, ariaLabel: name }), make("td")];
    return { meter, percent, element: make("tr", {}, make("td", {}, name), make("td", {}, meter), percent) };
  });

  /**
   * Take the picture through a network with what the reader has set, and return what happens in each step. Currents are
   * those of synapses or of the loop, none without either.
   * @param {import("./scan.js").Loaded} loaded
   */
  function activityOf({ trained, net, hidden, synapse }) {
    if (hidden.parameters.length) hidden.parameters = [[threshold.value]];
    hidden.isFedBack = hidden.hasLoop && loop.value;
    if (synapse && trained.tau !== null) synapse.parameters = [[1 / tau.value]];
    const seen = columnsOf(drawsFirst && isDrawing() ? prepared(pad.pixels) : pad.pixels);
    const columns = [...seen, ...range(blank.value).map(() => NOTHING)];
    const outputs = net.forward(columns);
    const [spikes, currents] = [hidden.y, synapse?.y ?? hidden.back].map((series) => series.slice(0, columns.length));
    return { columns, outputs, potentials: hidden.v.slice(1, columns.length + 1).map(([v]) => v), spikes, currents };
  }

  /** Return what all others answer at the end, once there are networks of the reader's own. */
  function othersSaid() {
    if (!loaded.some(({ trained }) => trained.epochs)) return "";
    const others = loaded.filter((_, k) => k !== which.value);
    const answered = others.map((one) => {
      const { outputs } = activityOf(one);
      return `${one.trained.name}: ${classes[answers(outputs, outputs.length, 1).best]}`;
    });
    return ` At the end the others answer ${answered.join(", ")}.`;
  }

  const chart = new Chart("columns, spikes, mean outputs and a hidden neuron of the network over time", () => {
    const { columns, spikes, potentials, currents, outputs } = activity;
    const { trained } = loaded[which.value];
    const [x, now, chosen, limit] = [[-0.5, columns.length - 0.5], time.value, neuron.value, threshold.value];
    const steps = range(now);
    const count = spikes[0].length;
    const fired = steps.flatMap((t) => range(count).flatMap((j) => (spikes[t][j] ? [{ t, j }] : [])));
    const own = fired.filter(({ j }) => j === chosen).map(({ t }) => t);
    const sums = outputs.map((_, t) => answers(outputs, t + 1, trained.scale));
    const all = sums.flatMap(({ means }) => means);
    const v = potentials.map((step) => step[chosen]);
    const i = currents.map((step) => step[chosen]);
    const low = Math.max(-DEPTH * limit, Math.min(0, ...v, ...i) - 0.2);
    const [color, label] = trained.synapse === null ? [COLORS.loop, "fed back"] : [COLORS.current, "current I"];
    const one = { x, y: [chosen, chosen], label: `neuron ${chosen}` };
    return [
      raster(
        columns.map((column, t) => (t < now ? column : NOTHING)),
        { height: 84, title: "columns as they enter", yLabel: "row" },
      ),
      {
        ...{ height: Math.max(96, 3 * count), x, y: [count - 0.5, -0.5], title: "hidden spikes", yLabel: "neuron" },
        marks: [
          { kind: "line", ...one, color: COLORS.threshold, width: 1 },
          { kind: "dots", x: fired.map(({ t }) => t), y: fired.map(({ j }) => j), color: COLORS.spike, size: 1.2 },
        ],
      },
      {
        ...{ height: 150, x, y: [Math.min(0, ...all), Math.max(1, ...all)], title: "mean output so far" },
        marks: classes.map((label, j) => {
          const style = j === sums[now - 1]?.best ? { width: 3 } : { width: 1, color: COLORS.threshold };
          return { kind: "line", x: steps, y: sums.map(({ means }) => means[j]), label, ...style };
        }),
      },
      {
        ...{ height: 120, x, y: [low, Math.max(1.2 * limit, ...v, ...i) + 0.2], xLabel: "time step" },
        title: `hidden neuron ${chosen}`,
        marks: [
          { kind: "line", x, y: [limit, limit], color: COLORS.threshold, dashed: true, label: "threshold" },
          { kind: "line", x: i.length ? steps : [], y: i, dashed: true, color, label },
          { kind: "line", x: steps, y: v, color: COLORS.membrane, label: "potential v" },
          { kind: "dots", x: own, y: own.map(() => limit), color: COLORS.spike, label: "spike" },
        ],
      },
    ];
  });

  // A network that is trained on this page comes after those of the package, and again after each epoch.
  document.addEventListener("snn-trained", (event) => {
    const { trained, cells: own, isLast } = /** @type {CustomEvent} */ (event).detail;
    const found = loaded.findIndex((one) => one.trained.name === trained.name);
    const place = found < 0 ? loaded.length : found;
    if (found < 0) which.input.append(make("option", {}, trained.name));
    loaded[place] = load(trained, own, SIDE + BLANK);
    if (isLast || place === which.value) changed(which.input);
  });

  /** Show what the network has, and as many steps as there are. */
  function fit() {
    const { trained, hidden } = loaded[which.value];
    tau.hidden = trained.tau === null;
    threshold.hidden = hidden.parameters.length === 0;
    loop.hidden = !hidden.hasLoop;
    const steps = SIDE + blank.value;
    const isWhole = time.value === Number(time.input.max);
    time.input.max = `${steps}`;
    time.value = isWhole ? steps : time.value;
    if (image.value !== shown.image && !isDrawing()) pad.set(element(pixels, image.value, SIDE * SIDE));
    pad.draw();
    activity = activityOf(loaded[which.value]);
    if (which.value !== shown.network) {
      neuron.input.max = `${hidden.outputs - 1}`;
      neuron.value = typical(activity.spikes);
    }
    shown = { image: image.value, network: which.value };
  }

  const answered = make("table", {}, ...rows.map((row) => row.element));
  const side = make("div", {}, pad.canvas, clear, answered);
  const main = make("div", { className: "snn-wide" }, chart.canvas);
  return {
    controls: [
      [which, image],
      [...plays.buttons, time],
    ],
    figures: [make("div", { className: "snn-panels" }, side, main)],
    more: [
      [neuron, blank],
      [threshold, tau, loop],
    ],
    numbers: () => ({
      ...Object.fromEntries(Object.entries(activity).map(([name, seq]) => [name, seq.map((one) => Array.from(one))])),
      ...answers(activity.outputs, time.value, loaded[which.value].trained.scale),
    }),
    update() {
      fit();
      const { trained } = loaded[which.value];
      const isEmpty = !pad.pixels.some((grey) => grey > 0);
      const { shares, best } = answers(activity.outputs, time.value, trained.scale);
      for (const [k, { meter, percent, element }] of rows.entries()) {
        meter.value = isEmpty ? 0 : shares[k];
        percent.textContent = isEmpty ? "" : `${Math.round(100 * shares[k])} %`;
        element.classList.toggle("best", k === best && time.value > 0 && !isEmpty);
      }
      if (isEmpty) return "Draw a garment on the black square: a shoe, a shirt, a bag.";
      if (time.value === 0) return "No column has been read.";
      if (plays.isPlaying()) return `The ${trained.name} network is reading.`;
      const spikes = counted(sum(activity.spikes.slice(0, time.value).map(sum)), "hidden spike");
      const truth = classes[labels[image.value]];
      const judged = truth === undefined ? "" : truth === classes[best] ? ", which is right" : `; it is: ${truth}`;
      const blanks = blank.value && !trained.epochs ? " It was trained without blank columns." : "";
      const own = trained.epochs ? ` It was trained on this page, and is seen after ${trained.epochs} epochs.` : "";
      const read = `After ${counted(time.value, "column")} and ${spikes}, the ${trained.name} network answers: `;
      return `${read}${classes[best]}${judged}.${blanks}${own}${othersSaid()}`;
    },
  };
};

/** Return a neuron that fires more often than most others do. @param {Float64Array[]} spikes */
function typical(spikes) {
  const counts = Array.from(spikes[0], (_, j) => sum(spikes.map((step) => step[j])));
  return range(counts.length).sort((j, k) => counts[j] - counts[k])[Math.floor(0.6 * counts.length)];
}

/**
 * Return the mean output of every class over all steps, of which the first `steps` have come, its softmax, and which is
 * the largest.
 * @param {Float64Array[]} outputs
 * @param {number} steps
 * @param {number} scale
 */
function answers(outputs, steps, scale) {
  const seen = outputs.slice(0, steps);
  const means = Array.from(outputs[0], (_, j) => (scale * sum(seen.map((output) => output[j]))) / outputs.length);
  const powers = means.map((mean) => Math.exp(mean - Math.max(...means)));
  return { means, shares: powers.map((power) => power / sum(powers)), best: largest(means) };
}
