/** Two buttons that move a slider over time: one takes it to the end, the other a step further. */

import { button, changed } from "./controls.js";

/** How long a step is shown, in milliseconds. */
const PACE = 200;

/**
 * At the end both continue from the first step. With less motion asked for, the end is shown at once.
 * @param {import("./controls.js").Control<number, HTMLInputElement>} time  a slider that begins at 0
 */
export function player(time) {
  let timer = 0;
  const isAtEnd = () => time.value >= Number(time.input.max);
  const play = button("play", () => (timer ? move(stop()) : begin()));
  const forward = button("step", () => move(isAtEnd() ? 0 : stop() + 1));
  time.input.addEventListener("input", stop);

  /** @param {number} t */
  function move(t) {
    time.value = t;
    if (isAtEnd()) stop();
    changed(time.input);
  }

  function begin(from = isAtEnd() ? 0 : time.value) {
    stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return move(Number(time.input.max));
    play.textContent = "pause";
    timer = window.setInterval(() => (play.isConnected ? move(time.value + 1) : stop()), PACE);
    move(from);
  }

  /** Return where it has stopped. */
  function stop() {
    window.clearInterval(timer);
    timer = 0;
    play.textContent = "play";
    return time.value;
  }

  return { buttons: [play, forward], begin, isPlaying: () => timer !== 0 };
}
