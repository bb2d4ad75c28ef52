/** What a worker does: it trains one network, and reports after each epoch. */

import { bytes, inflated } from "./bytes.js";
import { drawn, generator, Learner, shuffled } from "./learner.js";

/**
 * @typedef {{kind: number, images: string, labels: string, sizes: [number, number], side: number, classes: number,
 *   seed: number, inverse: number, rates: number[], isShuffled: boolean,
 *   settings: Omit<import("./learner.js").Settings, "order">}} Job
 *   Test images follow the training images, of which the first of `sizes` are used; `rates` are those of each epoch.
 * @typedef {{epoch: number, loss: number, accuracy: number, seconds: number,
 *   tensors: import("./learner.js").Tensors}} Report
 */

/** Steps after which the worker looks whether it has to pause. */
const STEPS = 16;

/**
 * Train what a message asks for; others say whether to pause.
 * @param {import("./learner.js").Kind[]} kinds
 * @param {import("./learner.js").Equations} equations
 */
export function work(kinds, equations) {
  let isPaused = false;
  /** Let messages in, and return how long that took. */
  async function rest() {
    const began = performance.now();
    do await new Promise((resolve) => setTimeout(resolve, 5));
    while (isPaused);
    return performance.now() - began;
  }

  /** @param {Job} job */
  async function train(job) {
    const { side, classes, settings } = job;
    const pixels = await inflated(job.images);
    const labels = bytes(job.labels);
    /** @param {number} first @param {number} count */
    const pictures = (first, count) => ({
      pixels: pixels.subarray(first * side * side, (first + count) * side * side),
      labels: labels.subarray(first, first + count),
      side,
      classes,
    });
    const [used, first] = job.sizes;
    const [learned, tested] = [pictures(0, used), pictures(first, labels.length - first)];
    const random = generator(job.seed);
    const order = job.isShuffled ? shuffled(side, generator(1)) : Array.from({ length: side }, (_, t) => t);
    const tensors = drawn(kinds[job.kind], settings.hidden, job.inverse, random);
    const learner = new Learner(kinds[job.kind], equations, learned, { ...settings, order }, tensors);
    for (const [epoch, rate] of job.rates.entries()) {
      let began = performance.now();
      let loss = 0;
      learner.lr = rate;
      const all = shuffled(used, random);
      for (let at = 0; at < used; at += settings.batch) {
        const some = all.slice(at, at + settings.batch);
        loss += (learner.step(learned, some) * some.length) / used;
        if ((at / settings.batch) % STEPS === 0) began += await rest();
      }
      const accuracy = learner.accuracy(tested);
      postMessage({ epoch: epoch + 1, loss, accuracy, seconds: (performance.now() - began) / 1000, tensors });
    }
  }

  addEventListener("message", ({ data }) => {
    if (typeof data === "boolean") isPaused = data;
    else train(data).catch((error) => postMessage({ failed: `${error.message ?? error}` }));
  });
}
