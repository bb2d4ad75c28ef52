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

/** @type {import("./view.js").Build<FieldData>} */
export const field = ({ number, right, mistakes, tolerance, hint, because }) => {
  const kind = typeof right === "string" ? "a word" : Array.isArray(right) ? `${right.length} numbers` : "a number";
  const input = make("input", { type: "text", ariaLabel: `answer to exercise ${number}`, autocomplete: "off" });
  input.placeholder = `${kind}${Array.isArray(right) ? ", with commas between" : ""}`;
  let attempts = 0;
  let reply = "";
  const ask = button("check", () => {
    reply = replyTo(input.value);
    changed(ask);
  });
  input.addEventListener("keydown", ({ key }) => key === "Enter" && ask.click());

  /** @param {Expected} expected @param {number} answer */
  function isIt(expected, answer) {
    if (typeof expected === "object") {
      return (expected.low ?? -Infinity) < answer && answer < (expected.high ?? Infinity);
    }
    return Math.abs(answer - Number(expected)) <= tolerance * (1e-3 + Math.abs(Number(expected)));
  }

  /** @param {Expected | Expected[]} expected @param {string} text */
  function fits(expected, text) {
    if (typeof expected === "string") return expected.toLowerCase() === text.trim().toLowerCase();
    const all = Array.isArray(expected) ? expected : [expected];
    const answers = listOf(text);
    return answers.length === all.length && all.every((one, k) => isIt(one, answers[k]));
  }

  /** @param {string} text */
  function replyTo(text) {
    if (text.trim() === "") return "no answer yet.";
    if (fits(right, text)) return `right. ${because}`.trim();
    if (typeof right !== "string" && listOf(text).some(Number.isNaN)) return `the answer is ${kind}.`;
    attempts += 1;
    const found = mistakes.find(([wrong]) => fits(wrong, text));
    if (found) return `not yet: ${found[1]}`;
    return `not yet. ${attempts > 1 ? `Hint: ${hint}` : "Try again for a hint."}`;
  }

  return {
    controls: [[input, ask]],
    figures: [],
    numbers: () => ({ typed: input.value, attempts, reply }),
    update: () => `Exercise ${number}: ${reply || "type your answer here, or put it into the cell and run it."}`,
  };
};
