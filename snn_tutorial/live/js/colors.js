/** One colour for one thing, as in snn_tutorial/plot/style.py: on a light page and on a dark one. */

/** @typedef {readonly string[]} Color */

export const COLORS = {
  input: ["#009E73", "#2CC79A"],
  membrane: ["#000000", "#DDDDDD"],
  spike: ["#D55E00", "#FF8A3D"],
  current: ["#CC79A7", "#E39CC4"],
  loop: ["#0072B2", "#56B4E9"],
  threshold: ["#666666", "#A6A6A6"],
};

/**
 * Return the colour of a network, which is that of its memory.
 * @param {string} name  such as "stateful-synapse" or "feedback (yours)"
 * @returns {Color}
 */
export function colorOf(name) {
  if (name.startsWith("stateful")) return COLORS.current;
  return name.startsWith("feedback") ? COLORS.loop : COLORS.membrane;
}
