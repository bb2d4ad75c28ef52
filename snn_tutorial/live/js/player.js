/** Two buttons that move a slider over time: one takes it to the end, the other a step further. */

import { button } from "./controls.js";

/** How long a step is shown, in milliseconds. */
const PACE = 200;

/**
 * At the end both continue from the first step. With less motion asked for, the end is shown at once.
 * @param {import("./controls.js").Control<number, HTMLInputElement>} time  a slider that begins at 0
 */
export function player(time) {
  /** @type {number | undefined} */
  let timer;
  let isOwn = false;
  const last = () => Number(time.input.max);
  const play = button("play", () => (timer === undefined ? begin() : move(stop())));
  const forward = button("step", () => {
    const t = stop();
    move(t >= last() ? 0 : t + 1);
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
    else timer = window.setTimeout(next, PACE);
    move(time.value + 1);
  }

  function begin(from = time.value >= last() ? 0 : time.value) {
    stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return move(last());
    play.textContent = "pause";
    if (from === time.value) return next();
    timer = window.setTimeout(next, PACE);
    move(from);
  }

  function stop() {
    window.clearTimeout(timer);
    timer = undefined;
    play.textContent = "play";
    return time.value;
  }

  return { buttons: [play, forward], begin, isPlaying: () => timer !== undefined };
}
