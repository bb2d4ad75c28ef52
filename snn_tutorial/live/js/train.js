/** Train the three networks on the page, side by side, each in a worker of its own. */

import { Chart } from "./chart.js";
import { colorOf } from "./colors.js";
import { button, changed, make, menu, number, slider } from "./controls.js";
import { percent } from "./numbers.js";

/**
 * @typedef {import("./learner.js").Report} Report
 * @typedef {[number, number][]} Curve  Loss and accuracy by epoch.
 * @typedef {{name: string, history: Omit<Report, "tensors">[], failed: string, worker?: Worker}} Run
 * @typedef {{label: string, first: number, choices?: string[], values?: number[], unit?: string, rates?: number[],
 *   isRare?: boolean}} Option
 *   A menu or a slider; `rates` are the learning rates that its choices begin with; rare ones are folded away.
 * @typedef {{name: string, says: string, seed: number, settings: Record<string, number>, curves: Curve[]}} Story
 *   What a click sets, what will be seen, and the curves that were recorded.
 * @typedef {{worker: string, lesson: import("./learner.js").Lesson, options: Record<string, Option>, stories: Story[],
 *   scale: number, kinds: import("./learner.js").Kind[], cells: import("./scan.js").Cells}} TrainData
 *   `worker` is its script, `scale` is that of answers.
 */

/**
 * Say where each network has ended, and which one fell most on the way.
 * @param {{name: string, accuracies: number[]}[]} ended
 */
function conclusion(ended) {
  const ends = ended.map(({ name, accuracies }) => `${name} ${percent(accuracies.at(-1) ?? 0, 1)}`);
  const falls = ended.flatMap(({ name, accuracies }) =>
    accuracies.slice(1).map((now, k) => ({ name, epoch: k + 2, before: accuracies[k], now })),
  );
  const worst = falls.reduce((one, other) => (other.before - other.now > one.before - one.now ? other : one));
  const fall = `${worst.name} falls from ${percent(worst.before, 1)} to ${percent(worst.now, 1)} in epoch ${worst.epoch}`;
  return `They end at ${ends.join(", ")}. The largest fall: ${fall}.`;
}

/** @type {import("./view.js").Build<TrainData>} */
export const train = (data, signal) => {
  const names = data.kinds.map(({ name }) => name);
  const epochs = data.lesson.schedule.length;
  const url = URL.createObjectURL(new Blob([data.worker], { type: "text/javascript" }));
  const seed = number("seed", { value: 0, max: 9999 });
  const controls = Object.entries(data.options).map(([key, { label, choices, first, rates, isRare, ...range }]) => {
    const control = choices ? menu(label, choices, first) : slider(label, { ...range, value: first });
    return { key, control, rates, isRare };
  });
  const settings = () => Object.fromEntries(controls.map(({ key, control }) => [key, control.value]));
  let said = "";
  let isPaused = false;
  /** @type {Curve[]} */
  let before = [];
  /** @returns {Run[]} */
  const fresh = () => names.map((name) => ({ name, history: [], failed: "" }));
  let runs = fresh();
  /** @param {Run} run @returns {Curve} */
  const curveOf = ({ history }) => history.map(({ loss, accuracy }) => [loss, accuracy]);
  const isRunning = () => runs.some(({ worker }) => worker);

  const go = button("Train", () => (isRunning() ? pause() : begin()));
  const stories = data.stories.map((story) =>
    button(story.name, () => {
      choose(story);
      begin();
    }),
  );
  const states = names.map(() => make("div"));
  choose(data.stories[0]);
  signal.addEventListener("abort", () => {
    for (const run of runs) end(run);
    URL.revokeObjectURL(url);
  });

  /** @param {string} news */
  function tell(news) {
    said = news;
    changed(go);
  }

  /** @param {Story} story */
  function choose(story) {
    seed.value = story.seed;
    for (const { key, control } of controls) control.value = story.settings[key];
    said = story.says;
  }

  /** Return the story that is set, if any. */
  function chosen() {
    const now = settings();
    return data.stories.find(
      (story) => story.seed === seed.value && controls.every(({ key }) => story.settings[key] === now[key]),
    );
  }

  async function begin() {
    for (const run of runs) end(run);
    if (runs.some(({ history }) => history.length)) before = runs.map(curveOf);
    isPaused = false;
    runs = fresh();
    const job = { seed: seed.value, settings: settings() };
    const mine = runs;
    tell(chosen()?.says ?? `Seed ${job.seed}: training has begun.`);
    // The site has the images in a file of their own, for all of its pages.
    const page = /** @type {{snnImages?: string, snnLoad?: (name: string) => Promise<unknown>}} */ (globalThis);
    if (!data.lesson.images && !page.snnImages) await page.snnLoad?.("lesson.js").catch(({ message }) => tell(message));
    const lesson = { ...data.lesson, images: data.lesson.images ?? page.snnImages };
    if (mine !== runs || !lesson.images) return; // it has begun once more
    for (const [kind, run] of runs.entries()) {
      try {
        run.worker = new Worker(url);
        run.worker.onerror = (event) => fail(run, event.message || "its worker could not run");
        run.worker.onmessage = ({ data: found }) => (found.failed ? fail(run, found.failed) : take(kind, run, found));
        run.worker.postMessage({ ...lesson, kind, ...job });
      } catch (error) {
        fail(run, `${error}`);
      }
    }
    changed(go);
  }

  function pause() {
    isPaused = !isPaused;
    for (const run of runs) run.worker?.postMessage(isPaused);
    tell(isPaused ? "Paused." : "Training continues.");
  }

  /** @param {Run} run */
  function end(run) {
    run.worker?.terminate();
    run.worker = undefined;
  }

  /** @param {Run} run @param {string} why */
  function fail(run, why) {
    end(run);
    run.failed = why;
    tell(`The ${run.name} network has stopped: ${why}. The others continue.`);
  }

  /** @param {number} kind @param {Run} run @param {Report} report */
  function take(kind, run, { tensors, ...report }) {
    if (!go.isConnected) return end(run);
    run.history.push(report);
    const isLast = report.epoch === epochs;
    if (isLast) end(run);
    // The view of networks on this page gets this one.
    const { name } = run;
    const trained = { ...data.kinds[kind], name, tensors, tau: null, scale: data.scale };
    const detail = { kind, trained, cells: data.cells, isLast, blank: settings().blank };
    document.dispatchEvent(new CustomEvent("snn-trained", { detail }));
    const ended = runs.filter(({ history }) => history.length === epochs);
    if (ended.length === runs.length) {
      said = conclusion(
        ended.map((one) => ({ name: one.name, accuracies: one.history.map(({ accuracy }) => accuracy) })),
      );
    }
    changed(go);
  }

  /** @param {Run} run */
  function stateOf({ history, failed, worker }) {
    const report = history.at(-1);
    if (failed) return `stopped: ${failed}`;
    if (!report) return worker ? "first epoch" : "not trained yet";
    const left = worker ? `, ${Math.ceil((epochs - report.epoch) * report.seconds)} s left` : "";
    return `epoch ${report.epoch} of ${epochs}, loss ${report.loss.toFixed(4)}, test ${percent(report.accuracy, 1)}${left}`;
  }

  /** @param {"loss" | "accuracy"} key @param {number} unit  of the ends of the axis @param {string} yLabel */
  const chart = (key, unit, yLabel) =>
    new Chart(`${yLabel} of the three networks by epoch`, (width) => {
      const story = chosen();
      // A cure is drawn over the collapse; what a story itself will give appears as it is trained.
      const collapse = data.stories[0];
      const isCure = story && story !== collapse && story.settings.blank === collapse.settings.blank;
      const recorded = story?.curves.map((curve, k) => curve.slice(0, runs[k].history.length));
      const older = isCure ? collapse.curves : (recorded ?? before);
      const values = (/** @type {Curve} */ curve) =>
        curve.map(([loss, accuracy]) => (key === "accuracy" ? 100 * accuracy : loss));
      const marks = runs.flatMap((run, k) => [
        { y: values(curveOf(run)), color: colorOf(run.name), label: run.name },
        { y: values(older[k] ?? []), color: colorOf(run.name), dashed: true, width: 1.5 },
      ]);
      const all = [unit, ...marks.flatMap(({ y }) => y)];
      return [
        {
          ...{ height: Math.min(190, 0.36 * width), x: [0, epochs], yLabel, xLabel: "epoch" },
          title: older.some((curve) => curve.length) ? `dashed: ${nameOf(isCure, story)}` : " ",
          y: [unit * Math.floor(Math.min(...all) / unit), unit * Math.ceil(Math.max(...all) / unit)],
          marks: marks.map(({ y, ...style }) => ({ kind: "line", x: y.map((_, epoch) => epoch + 1), y, ...style })),
        },
      ];
    }).canvas;

  /** @param {boolean | undefined} isCure @param {Story | undefined} story */
  const nameOf = (isCure, story) =>
    isCure ? "the collapse" : story ? "recorded for this seed" : "your training before";

  for (const { control, rates } of controls) {
    control.input.addEventListener("input", () => {
      const lr = controls.find(({ key }) => key === "lr")?.control;
      if (rates && lr) lr.value = rates[control.value];
      said = isRunning() ? "It counts from the next start on." : "";
    });
  }
  const rows = [false, true].map((isRare) =>
    controls.filter((one) => !one.isRare === !isRare).map(({ control }) => control),
  );
  const rare = make(
    "details",
    {},
    make("summary", {}, "more settings"),
    make("div", { className: "snn-row" }, ...rows[1]),
  );
  const story = {
    get value() {
      const found = chosen();
      return found ? data.stories.indexOf(found) : -1;
    },
    set value(k) {
      if (data.stories[k]) choose(data.stories[k]);
    },
  };

  return {
    controls: [stories, [go, seed, ...rows[0]], [rare]],
    figures: [
      make(
        "div",
        { className: "snn-panels" },
        chart("loss", 0.01, "train loss"),
        chart("accuracy", 10, "test accuracy (%)"),
      ),
      ...states,
    ],
    shared: { story, seed, ...Object.fromEntries(controls.map(({ key, control }) => [key, control])) },
    numbers: () => ({
      runs: runs.map(({ history, failed }) => ({ history, failed })),
      seed: seed.value,
      settings: settings(),
      story: story.value,
      isPaused,
    }),
    update() {
      go.textContent = isRunning() ? (isPaused ? "Resume" : "Pause") : "Train";
      for (const [k, one] of stories.entries()) one.ariaPressed = `${k === story.value}`;
      for (const [k, run] of runs.entries()) states[k].textContent = `${run.name}: ${stateOf(run)}`;
      return said || `Train starts ${names.length} networks on ${data.lesson.sizes[0]} real images, side by side.`;
    },
  };
};
