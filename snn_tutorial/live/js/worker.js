/** What a worker does: it trains one network, and reports after each epoch. */

import { drawn, generator, Learner, shuffled } from "./learner.js";
import { bytes, inflated, range } from "./numbers.js";

/**
 * @typedef {{images: string, labels: string, sizes: [number, number], side: number, classes: number, batch: number,
 *   schedule: number[], limits: number[], taus: [number, number][]}} Lesson
 *   What all networks learn: images, of which the first of `sizes` are to train with and the others to test, deflated;
 *   factors on the learning rate for each epoch; limits of the gradient's norm; time constants, and how they are kept.
 * @typedef {Lesson & {kind: number, seed: number, settings: Record<string, number>}} Job
 * @typedef {{epoch: number, loss: number, accuracy: number, seconds: number, images: number,
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
  async function train({ seed, kind, settings, ...lesson }) {
    const { side, batch } = lesson;
    const { images, hidden, lr } = settings;
    const [learned, tested] = await picturesOf(lesson);
    const random = generator(seed);
    const order = settings.order ? shuffled(side, generator(1)) : range(side);
    const kept = lesson.taus.find(([tau]) => tau === settings.tau)?.[1] ?? 0;
    const tensors = drawn(kinds[kind], hidden, kept, random);
    const { cut, optimizer, blank } = settings;
    const given = { hidden, cut, optimizer, lr, blank, batch, order, clip: lesson.limits[settings.clip] };
    const learner = new Learner(kinds[kind], equations, learned, given, tensors);
    for (const [epoch, factor] of lesson.schedule.entries()) {
      let began = performance.now();
      let loss = 0;
      learner.lr = factor * lr;
      const all = shuffled(images, random);
      for (let at = 0; at < images; at += batch) {
        const some = all.slice(at, at + batch);
        loss += (learner.step(learned, some) * some.length) / images;
        if ((at / batch) % STEPS === 0) began += await rest();
      }
      const accuracy = learner.accuracy(tested);
      postMessage({ epoch: epoch + 1, loss, accuracy, seconds: (performance.now() - began) / 1000, images, tensors });
    }
  }

  addEventListener("message", ({ data }) => {
    if (typeof data === "boolean") isPaused = data;
    else train(data).catch((error) => postMessage({ failed: `${error.message ?? error}` }));
  });
}

/**
 * Return the images to train with, and those to test.
 * @param {Lesson} lesson
 */
async function picturesOf({ images, labels, sizes, side, classes }) {
  const pixels = await inflated(images);
  return sizes.map((size, k) => {
    const first = k * sizes[0];
    return {
      pixels: pixels.subarray(first * side * side, (first + size) * side * side),
      labels: bytes(labels).subarray(first, first + size),
      side,
      classes,
    };
  });
}
