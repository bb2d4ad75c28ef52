/** Two buttons that move a slider over time: one takes it to the end, the other a step further. */

import { button } from "./controls.js";

/**
 * @typedef {{buttons: HTMLElement[], begin: (from?: number) => void, isPlaying: () => boolean}} Player
 */

/**
 * At the end both go on from the first step. Whoever has asked for less motion gets the end at once.
 * @param {import("./controls.js").Control<number>} time  a slider that begins at 0
 * @param {() => number} last  its largest value
 * @param {() => number} pace  how long a step is shown, in milliseconds
 * @returns {Player}
 */
export function player(time, last, pace) {
  /** @type {number | undefined} */
  let timer;
  let isOwn = false;
  const play = button("play", () => (timer === undefined ? begin() : rest()));
  const forward = button("step", () => {
    stop();
    move(time.value >= last() ? 0 : time.value + 1);
  });
  time.input.addEventListener("input", () => {
    if (!isOwn) stop();
  });

  /** @param {number} t */
  function move(t) {
    time.value = t;
    isOwn = true;
    time.input.dispatchEvent(new Event("input", { bubbles: true }));
    isOwn = false;
  }

  function next() {
    if (!play.isConnected) return stop();
    if (time.value + 1 >= last()) stop();
    else timer = window.setTimeout(next, pace());
    move(time.value + 1);
  }

  function begin(from = time.value >= last() ? 0 : time.value) {
    stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return move(last());
    play.textContent = "pause";
    if (from === time.value) return next();
    timer = window.setTimeout(next, pace());
    move(from);
  }

  function stop() {
    window.clearTimeout(timer);
    timer = undefined;
    play.textContent = "play";
  }

  /** Stop, and say where it stopped. */
  function rest() {
    stop();
    move(time.value);
  }

  return { buttons: [play, forward], begin, isPlaying: () => timer !== undefined };
}
