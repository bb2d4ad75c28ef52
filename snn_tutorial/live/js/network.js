/** Three networks side by side: a picture enters them column by column, blank ones follow, and one sees who still knows. */

import { Chart, raster } from "./chart.js";
import { COLORS, colorOf } from "./colors.js";
import { box, button, changed, make, menu, slider } from "./controls.js";
import { bytes, columnsOf, element, largest, percent, range, SIDE, sum } from "./numbers.js";
import { Pad, paint, picture } from "./pad.js";
import { player } from "./player.js";
import { load } from "./scan.js";

/**
 * @typedef {import("./scan.js").Trained} Trained
 * @typedef {import("./scan.js").Loaded} Loaded
 * @typedef {{networks: Trained[], cells: import("./scan.js").Cells, classes: string[], images: string, labels: number[],
 *   blank: number, read: number, last: number | null, isQuestion?: boolean, isCut?: boolean, first: number,
 *   known?: {blanks: number[], shares: number[][], images: number}}} NetworkData
 *   `blank` columns follow the picture at first, and `read` ones are read; the `last` outputs answer, without a number all.
 *   `isQuestion`: the view begins by itself, asks to draw, and ends with a conclusion. `isCut`: the end of the picture is
 *   blank, states can be cleared there, and the output spikes since then answer. `known`: share of so many test images that each network, as it
 *   was trained, knows after so many blanks.
 * @typedef {{means: number[], shares: number[], best: number}} Answer  Mean outputs, their softmax, the largest's class.
 * @typedef {{columns: number[][], outputs: Float64Array[], potentials: Float64Array[], spikes: Float64Array[],
 *   currents: Float64Array[], answers: Answer[]}} Activity
 *   Of each step; currents are those of synapses or of the loop, if any. Answers begin with the one before all steps.
 */

/** Blank columns after a picture, at most. */
const BLANK = 56;
/** Milliseconds for a step, and for all steps after a stroke. */
const PACE = 60;
const STROKE = 1200;
/** Ink that a garment takes at least, in white pixels: of less a network says nothing. */
const INK = 20;
/** Garments that differ only in a line or two: of a drawing one answer, unless the network is surer than this. */
const [ALIKE, SURE] = [["Pullover", "Coat", "Shirt"], 0.8];
/** Hidden neurons whose spikes are drawn, at most. */
const DRAWN = 64;
const NOTHING = range(SIDE).map(() => 0);
const TAUS = [1.1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200];
/** Hidden neurons between input and output, a synapse that keeps a current, and the way back. */
const SIGN = `<svg viewBox="0 0 64 26" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2">
<path d="M2 17H20M34 17H62M57 13l5 4-5 4"/><circle cx="27" cy="17" r="7" style="fill: rgb(213 94 0 / var(--spike))"/>
<circle cx="46" cy="17" r="5" stroke="none" style="fill: rgb(204 121 167 / var(--current))"/>
<path d="M36 11C42-3 12-3 18 10M14 6l4 5 4-5" style="stroke: rgb(47 143 208 / var(--loop))"/></svg>`;

/** @type {import("./view.js").Build<NetworkData>} */
export const network = (data, signal) => {
  const { networks, cells, classes, images, labels, last, known } = data;
  const pixels = bytes(images);
  const loaded = networks.map((one) => load(one, cells, SIDE + BLANK));
  const trainedTau = networks.find((one) => one.tau)?.tau ?? 2;
  const names = labels.map((label, k) => `${k}: ${classes[label]}`);
  const image = menu("picture", [...names, "your drawing"], data.first);
  const blank = slider("blank columns", { max: BLANK, step: 7, value: data.blank });
  const from = slider("blank from column", { max: SIDE, value: data.isCut ? SIDE / 2 : SIDE });
  const clears = {
    hidden: box("clear hidden potentials", false),
    currents: box("clear currents and last spikes", false),
    output: box("clear output potentials", false),
  };
  const states = make("details", {}, make("summary", {}, "clear states at the blank"), ...Object.values(clears));
  const loop = box("feedback", true);
  const taus = [...new Set([trainedTau, ...TAUS])].sort((a, b) => a - b);
  const tau = slider("tau (steps)", { values: taus, value: trainedTau });
  const time = slider("columns read", { max: SIDE + BLANK, value: data.read });
  const plays = player(time, PACE);
  const again = button("\u21bb again", () => plays.begin(0));
  again.className = "snn-again";
  const isDrawing = () => image.value === labels.length;
  const pad = new Pad("the picture", (isDone) => {
    image.value = labels.length;
    plays.stop();
    if (isDone) plays.begin(0, STROKE / Number(time.input.max));
  });
  const drawing = {
    get value() {
      return isDrawing() ? pad.value : "";
    },
    set value(word) {
      if (!word) return;
      pad.value = word;
      image.value = labels.length;
    },
  };
  const undo = button("undo", () => edit(pad.strokes.slice(0, -1)));
  const clear = button("clear", () => edit([]));
  /** What the networks see, with a line where they read. */
  const sight = picture({ ariaLabel: "what the networks see", title: "what the networks see" });
  if (data.isQuestion) requestAnimationFrame(() => plays.begin(0));

  /** @param {import("./pad.js").Stroke[]} strokes */
  function edit(strokes) {
    pad.set(null, strokes);
    pad.drawn(true);
  }

  let isReplaced = false;
  let trainedBlank = -1;
  /** What is known of all test images after these blanks, unless the reader has changed a network. */
  const sharesNow = () =>
    !isReplaced && loop.value && tau.value === trainedTau && known
      ? known.shares.map((shares) => shares[known.blanks.indexOf(blank.value)])
      : [];
  const hasInk = () => sum(Array.from(pad.pixels)) > 255 * INK;

  let shown = { image: -1, settings: "" };
  /** @type {Activity[]} */
  let activities = [];
  const truth = () => labels[image.value];
  /** What a network answers. @param {Answer} answer */
  const word = ({ shares, best }) =>
    truth() === undefined && ALIKE.includes(classes[best]) && shares[best] < SURE ? "a top" : classes[best];
  /** The class that a network should keep: of a drawing, what it said when that ended. @param {Activity} activity */
  const kept = ({ answers }) => truth() ?? answers[SIDE].best;

  /** Take the picture through a network with what the reader has set. @param {Loaded} loaded @returns {Activity} */
  function activityOf({ trained, net, hidden, synapse }) {
    if (synapse && trained.tau !== null) synapse.parameters = [[1 / tau.value]];
    const picture = columnsOf(pad.pixels).slice(0, from.value);
    const columns = [...picture, ...range(SIDE - from.value + blank.value).map(() => NOTHING)];
    const cleared = /** @type {const} */ ([
      [hidden, clears.hidden],
      [synapse, clears.currents],
      [net.layers.at(-1), clears.output],
    ]);
    const forget = (/** @type {number} */ t) => {
      const isNow = t === from.value;
      hidden.isFedBack = hidden.hasLoop && loop.value && !(isNow && clears.currents.value);
      for (const [layer, { value }] of cleared) if (isNow && value) layer?.forget(t);
    };
    const copies = (/** @type {Float64Array[]} */ series) => series.slice(0, columns.length).map((one) => one.slice());
    const outputs = copies(net.forward(columns, forget));
    const potentials = copies(hidden.v.slice(1).map(([v]) => v));
    const answers = range(columns.length + 1).map((t) =>
      data.isCut
        ? votes(outputs.slice(t > from.value ? from.value : 0, t), classes.length)
        : answer(outputs, t, trained.scale, last),
    );
    return {
      columns,
      outputs,
      potentials,
      spikes: copies(hidden.y),
      currents: copies(synapse?.y ?? hidden.back),
      answers,
    };
  }

  const cards = loaded.map((_, k) => {
    const [name, answered] = ["", "snn-answer"].map((kind) => make("div", { className: `${kind} snn-film` }));
    const [sign, second] = [
      make("div", { className: "snn-sign", innerHTML: SIGN }),
      make("div", { className: "snn-second snn-film" }),
    ];
    const chart = new Chart("columns, hidden spikes, state and certainty of the network over time", (width) =>
      panels(loaded[k].trained, activities[k], width),
    );
    return { name, sign, answered, second, element: make("div", {}, name, sign, answered, second, chart.canvas) };
  });

  /** @param {Trained} trained @param {Activity} activity @param {number} width @returns {import("./chart.js").Panel[]} */
  function panels(trained, activity, width) {
    const { columns, spikes, potentials, currents, answers } = activity;
    const seen = hasInk() ? time.value : 0;
    const [steps, color] = [range(seen), colorOf(trained.name)];
    const state = trained.synapse !== null ? "current" : currents.length ? "fed back" : "potential";
    const means = (currents.length ? currents : potentials).map((step) => sum(step) / step.length);
    const bare = { isBare: true, x: [-0.5, columns.length - 0.5], height: Math.min(44, 12 + 0.14 * width) };
    const whole = (/** @type {ArrayLike<number>[]} */ series) =>
      series.map((step, t) => (t < seen ? step : new Float64Array(step.length)));
    const squares = { ...bare, height: (width * SIDE) / columns.length, title: "what comes in" };
    const title = spikes[0].length > DRAWN && width > 140 ? `spikes of ${DRAWN} neurons` : "spikes";
    const burst = { ...bare, height: Math.min(120, 10 + 0.55 * width), title, color: COLORS.spike };
    const blanks = { x: [(SIDE + columns.length - 1) / 2], y: [SIDE / 2], text: ["nothing"] };
    const read = raster(whole(columns), squares);
    if (columns.length >= 2 * SIDE && time.value > SIDE) read.marks.push({ kind: "words", ...blanks });
    const answering = { ...burst, height: Math.min(60, burst.height), title: "output spikes", row: truth() };
    const found = [
      read,
      raster(whole(spikes.map((step) => step.slice(0, DRAWN))), burst),
      ...(data.isCut ? [raster(whole(activity.outputs), answering)] : []),
      {
        ...{ ...bare, y: [Math.min(0, ...means), Math.max(0.1, ...means)], title: state },
        marks: [{ kind: /** @type {const} */ ("line"), x: steps, y: means.slice(0, seen), color }],
      },
      {
        ...{ ...bare, y: [0, 1], title: "still knows" },
        marks: [
          {
            ...{ kind: /** @type {const} */ ("bars"), x: steps, width: 1, color },
            y: seen ? answers.slice(1).map(({ shares }) => shares[kept(activity)] ?? 0) : [],
          },
        ],
      },
    ];
    // Where the picture ends.
    const look = { kind: /** @type {const} */ ("line"), color: COLORS.threshold, width: 1, dashed: true };
    const end = [from.value - 0.5, from.value - 0.5];
    return found.map((panel) => ({ ...panel, marks: [...panel.marks, { ...look, x: end, y: panel.y }] }));
  }

  // A network that is trained on this page takes the place of the one of its kind, after each epoch.
  document.addEventListener(
    "snn-trained",
    (event) => {
      const { kind, trained, cells: own, isLast, blank: blanks } = /** @type {CustomEvent} */ (event).detail;
      if (blanks !== trainedBlank) blank.value = blanks; // it is asked as it was trained
      trainedBlank = blanks;
      loaded[kind] = load(trained, own, SIDE + BLANK);
      isReplaced = true;
      shown.settings = "";
      if (isLast) changed(image.input);
    },
    { signal },
  );

  /** Show as many steps as there are, and compute what the reader has changed. */
  function fit() {
    tau.hidden = loaded.every(({ trained }) => trained.tau === null);
    const steps = SIDE + blank.value;
    const isWhole = time.value === Number(time.input.max);
    time.input.max = `${steps}`;
    time.value = isWhole ? steps : time.value;
    if (image.value !== shown.image && !isDrawing()) pad.set(element(pixels, image.value, SIDE * SIDE));
    const settings = JSON.stringify(
      [image, pad, blank, loop, tau, from, ...Object.values(clears)].map(({ value }) => value),
    );
    if (settings !== shown.settings) activities = loaded.map(activityOf);
    shown = { image: image.value, settings };
  }

  /** Show what a network says, and light up what is active in this step. @param {number} k @param {boolean} isKnown */
  function tell(k, isKnown) {
    const [{ name, sign, answered, second }, { trained, hidden, synapse }, activity] = [
      cards[k],
      loaded[k],
      activities[k],
    ];
    const found = activity.answers[time.value];
    const [{ shares, best }, named] = [found, word(found)];
    const next = largest(shares.map((share, c) => (c === best ? -1 : share)));
    const judged = truth() === undefined ? "" : truth() === best ? "\u2713 " : "\u2717 ";
    const all = sharesNow()[k];
    name.textContent = trained.name;
    answered.textContent = isKnown ? named : time.value && pad.strokes.length ? "unsure" : "\u2013";
    const isKept = truth() === undefined ? named === word(activity.answers[SIDE]) : best === truth();
    answered.classList.toggle("wrong", isKnown && !isKept);
    const begin = named === classes[best] ? judged : `${classes[best]} `;
    const lines = isKnown
      ? [begin + percent(shares[best]), `then ${classes[next]} ${percent(shares[next])}`]
      : ["", ""];
    const whose = isReplaced ? "trained here" : all ? `all images: ${percent(all)}` : "";
    second.textContent = [...lines, whose].join("\n");
    const glow = (/** @type {Float64Array[]} */ series) => {
      const sizes = series.map((step) => sum(Array.from(step, Math.abs)));
      return 0.15 + (0.85 * (sizes[time.value - 1] ?? 0)) / Math.max(1e-9, ...sizes);
    };
    sign.style.setProperty("--spike", `${glow(activity.spikes)}`);
    sign.style.setProperty("--current", `${synapse ? glow(activity.currents) : 0}`);
    sign.style.setProperty("--loop", `${hidden.isFedBack ? glow(activity.currents) : 0}`);
    return `${trained.name} ${named}`;
  }

  /** Say who has kept what the picture shows; of a picture whose class is not known, what the networks say. */
  function conclude() {
    const blanks = time.value - SIDE;
    const [before, now] = [SIDE, time.value].map((t) => activities.map(({ answers }) => answers[t].best));
    const named = (/** @type {(k: number) => boolean} */ is) =>
      range(loaded.length)
        .filter(is)
        .map((k) => loaded[k].trained.name);
    const said = (/** @type {number} */ t) =>
      activities.map(({ answers }, k) => `${loaded[k].trained.name} ${word(answers[t])}`).join(", ");
    const wait = `After ${blanks} blank columns`;
    if (truth() === undefined) return `When it ends they say: ${said(SIDE)}. ${wait}: ${said(time.value)}.`;
    const knew = named((k) => before[k] === truth());
    const begin = knew.length === loaded.length ? "All three knew it." : `When it ended, ${listed(knew)} knew it.`;
    const lost = named((k) => now[k] !== truth());
    const answers = lost.map(
      (name) => `${name} says ${classes[now[loaded.findIndex(({ trained }) => trained.name === name)]]}`,
    );
    const shares = sharesNow();
    const all = loaded.map(({ trained }, k) => `${trained.name} ${percent(shares[k])}`);
    const count = known?.images.toLocaleString("en");
    return [
      begin,
      lost.length ? `${wait} ${listed(answers)}.` : `${wait} all three still know it.`,
      ...(shares.length ? [`Of ${count} pictures they still know: ${all.join(", ")}.`] : []),
    ].join(" ");
  }

  /** Say who is right by the output spikes since the blank. */
  function judged() {
    const right = loaded.filter((_, k) => activities[k].answers[time.value].best === kept(activities[k]));
    const since = time.value > from.value ? "in the blank columns" : "in the columns read so far";
    const cleared = Object.values(clears).filter((one) => one.value && from.value < SIDE);
    const lost = cleared.map(({ input }) => input.ariaLabel?.replace("clear ", "")).join(", ");
    const names = listed(right.map(({ trained }) => trained.name));
    return `By their output spikes ${since}, right: ${names}.${lost && ` Cleared: ${lost}.`}`;
  }

  const bars = make("div", { className: "snn-bars", ariaHidden: "true" });
  const hint = make("div", { className: "snn-hint" }, "draw here");
  const board = make("div", { className: "snn-board" }, pad.canvas, hint, undo, clear);
  const hand = make(
    "div",
    { className: "snn-hand" },
    sight,
    make("div", {}, ...(data.isCut ? [from, states] : [blank, loop, tau]), image),
  );
  const side = make("div", { className: "snn-side" }, board, hand);
  const main = make("div", { className: "snn-cards" }, ...cards.map((card) => card.element));
  return {
    controls: [],
    figures: [make("div", { className: "snn-three" }, side, main), bars],
    more: [[...(data.isQuestion ? [again] : []), ...plays.buttons, time]],
    shared: { picture: image, drawing, ...(data.isCut ? { from } : { blank, feedback: loop, tau }) },
    film: {
      name: "can-a-spike-remember",
      frames: (SIDE + BLANK) / 2,
      show(frame) {
        plays.stop();
        time.value = Math.min(2 * frame, Number(time.input.max));
        changed(time.input);
      },
    },
    numbers: () =>
      Object.fromEntries(
        activities.map(({ answers, ...activity }, k) => {
          const series = Object.entries(activity).map(([name, seq]) => [name, seq.map((one) => Array.from(one))]);
          return [loaded[k].trained.name, { ...Object.fromEntries(series), ...answers[time.value] }];
        }),
      ),
    update() {
      fit();
      const isEmpty = isDrawing() && !pad.strokes.length;
      hint.hidden = isDrawing();
      const [{ columns }, at] = [activities[0], time.value < SIDE ? time.value - 1 : SIDE];
      paint(sight, (k) => {
        const x = k % SIDE;
        return x === at ? 255 : (x < at ? 255 : 128) * columns[x][Math.floor(k / SIDE)];
      });
      const isSeen = hasInk() && time.value > 0;
      const said = cards.map((_, k) => tell(k, isSeen && activities[k].answers[time.value].best >= 0));
      const isOver = time.value === SIDE + blank.value && blank.value > 0 && hasInk() && !plays.isPlaying();
      const shares = isOver && data.isQuestion ? sharesNow() : [];
      bars.replaceChildren(
        ...shares.flatMap((share, k) => {
          const { name } = loaded[k].trained;
          const color = colorOf(name) === COLORS.membrane ? "currentColor" : colorOf(name)[1];
          const style = `--share: ${share}; --color: ${color}`;
          return [make("span", {}, name), make("div", { style }, percent(share))];
        }),
      );
      if (isEmpty) return "Draw a garment on the black square: a shoe, a shirt, a bag.";
      if (time.value === 0) return "No column has been read.";
      if (!hasInk()) return "Too little ink to say: draw more of it.";
      if (isOver && data.isQuestion) return conclude();
      if (data.isCut && !plays.isPlaying()) return judged();
      if (plays.isPlaying())
        return time.value <= SIDE ? "The picture enters." : "The picture has ended. Who still knows?";
      const blanks = Math.max(0, time.value - SIDE);
      return `After ${Math.min(time.value, SIDE)} columns and ${blanks} blank ones they answer: ${said.join(", ")}.`;
    },
  };
};

/**
 * Return what the last outputs say of those that have come. Without a number of last ones it is the sum of all that have
 * come, divided by the number of all steps.
 * @param {Float64Array[]} outputs
 * @param {number} steps  that have come
 * @param {number} scale
 * @param {number | null} last
 * @returns {Answer}
 */
function answer(outputs, steps, scale, last) {
  const taken = outputs.slice(last === null ? 0 : Math.max(0, steps - last), steps);
  const count = last === null ? outputs.length : Math.max(1, taken.length);
  const means = Array.from(outputs[0], (_, j) => (scale * sum(taken.map((output) => output[j]))) / count);
  const powers = means.map((mean) => Math.exp(mean - Math.max(...means)));
  return { means, shares: powers.map((power) => power / sum(powers)), best: largest(means) };
}

/**
 * Return the shares of output spikes, and the class that has most, -1 without any.
 * @param {Float64Array[]} outputs
 * @param {number} classes
 * @returns {Answer}
 */
function votes(outputs, classes) {
  const means = range(classes).map((j) => sum(outputs.map((output) => output[j])));
  const all = sum(means);
  return { means, shares: means.map((one) => one / (all || 1)), best: all ? largest(means) : -1 };
}

/** Join words as a sentence does. @param {string[]} words */
const listed = (words) =>
  words.length < 2 ? (words[0] ?? "none") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
