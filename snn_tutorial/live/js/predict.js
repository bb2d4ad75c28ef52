/** A question whose answer opens once the reader has given one: by a choice, or on a slider. */

import { button, changed, slider } from "./controls.js";

/**
 * Open the answer of the view in which something was pressed.
 * @param {Element} pressed
 */
export function reveal(pressed) {
  const answer = pressed.closest("figure")?.querySelector("details");
  if (answer) answer.open = true;
  changed(pressed);
}

/**
 * @typedef {{options: string[], right: number}} ChoiceData
 * @typedef {{ends: [number, number], step: number, first: number, unit: string, right: number}} GuessData
 */

/** @type {import("./view.js").Build<ChoiceData | GuessData>} */
export const predict = (data, signal) => ("options" in data ? choice(data, signal) : guess(data, signal));

/** @type {import("./view.js").Build<ChoiceData>} */
const choice = ({ options, right }) => {
  let given = -1;
  const buttons = options.map((option, k) =>
    button(option, () => {
      given = k;
      reveal(buttons[k]);
    }),
  );
  return {
    controls: [buttons],
    figures: [],
    numbers: () => ({ given, right }),
    update() {
      for (const [k, one] of buttons.entries()) {
        one.ariaPressed = `${k === given}`;
        one.classList.toggle("snn-right", given >= 0 && k === right);
      }
      if (given < 0) return "Choose one: then the answer opens.";
      return given === right
        ? `Right: ${options[right]}.`
        : `You chose "${options[given]}". It is "${options[right]}".`;
    },
  };
};

/** @type {import("./view.js").Build<GuessData>} */
const guess = ({ ends: [min, max], step, first, unit, right }) => {
  let given = Number.NaN;
  const value = slider("your guess", { min, max, step, value: first, unit });
  const show = button("show the answer", () => {
    given = value.value;
    reveal(show);
  });
  const found = `${Number(right.toPrecision(3))} ${unit}`.trim();
  return {
    controls: [[value, show]],
    figures: [],
    numbers: () => ({ value: value.value, given, right }),
    update() {
      if (Number.isNaN(given)) return "Set the slider, and press the button: then the answer opens.";
      return `You guessed ${`${Number(given.toPrecision(3))} ${unit}`.trim()}. It is ${found}.`;
    },
  };
};
