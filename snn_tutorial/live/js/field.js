/** A field for the answer of an exercise, which is checked as `Exercise.reply` in Python does. */

import { button, changed, make } from "./controls.js";

/**
 * @typedef {{low: number | null, high: number | null}} Between
 * @typedef {number | string | Between} Expected
 * @typedef {{number: string, right: Expected | Expected[], mistakes: [Expected | Expected[], string][],
 *   tolerance: number, hint: string, because: string}} FieldData
 */

/** Return a number or a quotient of two as a number. @param {string} text */
function numberOf(text) {
  const parts = text.replace("\u2212", "-").replace(/\s*%$/, "").split("/");
  const [a, b = 1] = parts.map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  return parts.length > 2 ? Number.NaN : a / b;
}

/** Return several numbers, or one that may have commas between its thousands. @param {string} text */
function listOf(text) {
  const isOne = /^\s*[-\u2212]?\d{1,3}(,\d{3})+(\.\d+)?\s*$/.test(text);
  const parts = isOne ? [text.replaceAll(",", "")] : text.replace(/^\s*[[(]|[\])]\s*$/g, "").split(/[,;]/);
  return parts.map((part) => numberOf(part.trim()));
}

/** Say in words what is expected. @param {Expected | Expected[]} right */
const kindOf = (right) =>
  typeof right === "string" ? "a word" : Array.isArray(right) ? `${right.length} numbers` : "a number";

/** @param {Expected} expected @param {number} answer @param {number} tolerance */
function isIt(expected, answer, tolerance) {
  if (typeof expected === "object") return (expected.low ?? -Infinity) < answer && answer < (expected.high ?? Infinity);
  return Math.abs(answer - Number(expected)) <= tolerance * (1e-3 + Math.abs(Number(expected)));
}

/**
 * Return the reply to an answer, and how many were wrong after it.
 * @param {FieldData} exercise
 * @param {string} text
 * @param {number} attempts  that were wrong before
 * @returns {[string, number]}
 */
export function replied({ right, mistakes, tolerance, hint, because }, text, attempts) {
  /** @param {Expected | Expected[]} expected */
  function fits(expected) {
    if (typeof expected === "string") return expected.toLowerCase() === text.trim().toLowerCase();
    const [all, answers] = [Array.isArray(expected) ? expected : [expected], listOf(text)];
    return answers.length === all.length && all.every((one, k) => isIt(one, answers[k], tolerance));
  }

  if (text.trim() === "") return ["no answer yet.", attempts];
  if (fits(right)) return [`right. ${because}`.trim(), attempts];
  if (typeof right !== "string" && listOf(text).some(Number.isNaN))
    return [`the answer is ${kindOf(right)}.`, attempts];
  const found = mistakes.find(([wrong]) => fits(wrong));
  if (found) return [`not yet: ${found[1]}`, attempts + 1];
  return [`not yet. ${attempts ? `Hint: ${hint}` : "Try again for a hint."}`, attempts + 1];
}

/** @type {import("./view.js").Build<FieldData>} */
export const field = (exercise) => {
  const { number, right } = exercise;
  const input = make("input", { type: "text", ariaLabel: `answer to exercise ${number}`, autocomplete: "off" });
  input.placeholder = `${kindOf(right)}${Array.isArray(right) ? ", with commas between" : ""}`;
  let [reply, attempts] = ["", 0];
  const ask = button("check", () => {
    [reply, attempts] = replied(exercise, input.value, attempts);
    changed(ask);
  });
  input.addEventListener("keydown", ({ key }) => key === "Enter" && ask.click());
  return {
    controls: [[input, ask]],
    figures: [],
    numbers: () => ({ typed: input.value, attempts, reply }),
    update: () => `Exercise ${number}: ${reply || "type your answer here, or put it into the cell and run it."}`,
  };
};
