/** Two buttons that move a slider over time: one takes it to the end, the other a step further. */

import { button, changed } from "./controls.js";

/** How long a step is shown, in milliseconds. */
const PACE = 200;

/**
 * At the end both continue from the first step. With less motion asked for, the end is shown at once.
 * @param {import("./controls.js").Control<number, HTMLInputElement>} time  a slider that begins at 0
 * @param {number} [usual]  how long it shows a step
 */
export function player(time, usual = PACE) {
  let frame = 0;
  const isAtEnd = () => time.value >= Number(time.input.max);
  const play = button("play", () => (frame ? move(stop()) : begin()));
  const forward = button("step", () => move(isAtEnd() ? 0 : stop() + 1));
  time.input.addEventListener("input", stop);

  /** @param {number} t */
  function move(t) {
    time.value = t;
    if (isAtEnd()) stop();
    changed(time.input);
  }

  /** @param {number} [from] @param {number} [pace] */
  function begin(from = isAtEnd() ? 0 : time.value, pace = usual) {
    stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return move(Number(time.input.max));
    play.textContent = "pause";
    const began = performance.now();
    const tick = () => {
      if (!play.isConnected) return stop();
      frame = requestAnimationFrame(tick);
      const t = Math.min(from + Math.floor((performance.now() - began) / pace), Number(time.input.max));
      if (t !== time.value) move(t);
    };
    frame = requestAnimationFrame(tick);
    move(from);
  }

  /** Return where it has stopped. */
  function stop() {
    cancelAnimationFrame(frame);
    frame = 0;
    play.textContent = "play";
    return time.value;
  }

  return { buttons: [play, forward], begin, stop, isPlaying: () => frame !== 0 };
}
