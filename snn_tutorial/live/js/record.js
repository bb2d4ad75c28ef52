/**
 * A neuron's step, written as lines of Python, recorded as statements and differentiated: what snn_core/kernels/record
 * does, with its operations, which javascript.py writes. The statements and their names are the same, see
 * `functional.derived`.
 */

import { OPERATIONS } from "./operations.js";

/**
 * @typedef {{name: string, isFlag: boolean, value?: number}} Sym  A constant has a value.
 * @typedef {Sym | number} Operand
 * @typedef {{result: Sym, operation: string, operands: Sym[]}} Statement
 * @typedef {(tape: Tape, g: Sym, r: Sym, ...operands: Sym[]) => (Sym | null)[]} Derivative
 *   From the gradient of the result r to those of the operands.
 * @typedef {{text: string, value: (...of: any[]) => number | boolean, derivative: Derivative | null,
 *   infinite_at: number | null}} Operation  The derivative is infinite for some numbers at that place.
 * @typedef {(tape: Tape, u: Sym) => Sym} Slope  The derivative of a surrogate function.
 * @typedef {{states: string[], forward: Statement[], outputs: Sym[], backward: Statement[], gradients: Sym[]}} Program
 *   `outputs` are the spike and each state after the step, `gradients` those of x and of each state before it.
 */

const COMPARISONS = { ">=": "ge", ">": "gt", "<=": "le", "<": "lt" };
const SIGNS = { "+": "add", "-": "sub", "*": "mul", "/": "div" };

/** Statements in their order. */
class Tape {
  /** @param {Slope} slope */
  constructor(slope) {
    this.slope = slope;
    /** @type {Sym} */
    this.one = { name: "one", isFlag: false, value: 1 };
    /** @type {Sym} */
    this.zero = { name: "zero", isFlag: false, value: 0 };
    /** @type {Statement[]} */
    this.statements = [];
  }

  /** @param {string} operation @param {...Operand} given */
  record(operation, ...given) {
    const operands = given.map((one) => (typeof one === "number" ? { name: "c", isFlag: false, value: one } : one));
    const isFlag = !OPERATIONS[operation].derivative;
    const result = { name: `${isFlag ? "f" : "r"}${this.statements.length}`, isFlag };
    this.statements.push({ result, operation, operands });
    return result;
  }

  /**
   * Return the gradients to the symbols `wanted`, given those of results.
   * @param {[Sym, Sym][]} seeds
   * @param {Sym[]} wanted
   */
  differentiate(seeds, wanted) {
    /** @type {Record<string, Sym>} */
    const gradients = {};
    /** The seeds that a gradient is made of. @type {Record<string, Set<Sym>>} */
    const sources = {};
    /** @param {Sym} to @param {Sym} gradient @param {Set<Sym>} madeOf */
    const add = ({ name }, gradient, madeOf) => {
      gradients[name] = gradients[name] ? this.record("add", gradients[name], gradient) : gradient;
      sources[name] = new Set([...(sources[name] ?? []), ...madeOf]);
    };
    for (const [result, seed] of seeds) add(result, seed, new Set([seed]));
    for (const { result, operation, operands } of this.statements.toReversed()) {
      const [g, { derivative, infinite_at: at }, own] = [
        gradients[result.name],
        OPERATIONS[operation],
        sources[result.name],
      ];
      if (!g || !derivative) continue;
      // A state that nothing uses later has the gradient 0, which an infinite derivative would make NaN.
      const mayBeInfinite = at !== null && operands[at].name !== "c";
      const isUsed = mayBeInfinite && [...own].every(({ name }) => name !== "g_y") ? this.#anyDiffers(own) : null;
      for (const [k, found] of derivative(this, g, result, ...operands).entries()) {
        const { name, isFlag } = operands[k];
        if (!found || name === "c" || isFlag) continue;
        add(operands[k], isUsed ? this.record("where", isUsed, found, this.zero) : found, own);
      }
    }
    return wanted.map(({ name }) => gradients[name] ?? this.zero);
  }

  /** @param {Set<Sym>} values */
  #anyDiffers(values) {
    return [...values].map((one) => this.record("ne", one, this.zero)).reduce((a, b) => this.record("or", a, b));
  }

  /** Return the statements that results need. @param {Sym[]} results */
  needed(results) {
    const names = new Set(results.map(({ name }) => name));
    const found = this.statements.toReversed().filter(({ result, operands }) => {
      if (!names.has(result.name)) return false;
      for (const { name } of operands) names.add(name);
      return true;
    });
    return found.reverse();
  }
}

/**
 * Record lines such as `h = v + x`. A name that is read before it is set is a state; `s` is the spike.
 * @param {string} text
 * @param {Slope} slope
 * @returns {Program}
 */
export function record(text, slope) {
  const tape = new Tape(slope);
  /** @type {Record<string, Sym>} */
  const states = {};
  const x = { name: "x", isFlag: false };
  /** @type {Map<string, Operand>} */
  const known = new Map([["x", x]]);
  for (const line of text.split("\n")) {
    const code = line.replace(/#.*/, "").trim();
    if (!code) continue;
    const [, name, right] = code.match(/^([a-z]\w*)\s*=(?!=)(.*)$/i) ?? [];
    if (!name) throw Error(`"${code}" is no line such as h = v + x`);
    if (name === "x" || FUNCTIONS.includes(name)) throw Error(`${name} cannot be set`);
    const value = new Expression(right, tape, read).parse();
    if (typeof value !== "number" && value.isFlag) throw Error(`${name} would be a comparison: put it into where(...)`);
    known.set(name, value);
  }

  /** @param {string} name @returns {Operand} */
  function read(name) {
    const found = known.get(name);
    if (found !== undefined) return found;
    states[name] = { name: `v${Object.keys(states).length}`, isFlag: false };
    known.set(name, states[name]);
    return states[name];
  }

  if (!known.has("s") || "s" in states) throw Error("one line must set the spike s, before s is read");
  const outputs = ["s", ...Object.keys(states)].map((name) => {
    const value = known.get(name);
    if (value === states[name]) throw Error(`${name} is read and never set, though a state must be`);
    if (typeof value !== "object") throw Error(`${name} must depend on x or a state`);
    return value;
  });
  const before = [x, ...Object.values(states)];
  const seeds = before.map((_, k) => ({ name: k ? `g_v${k - 1}` : "g_y", isFlag: false }));
  const forward = tape.needed(outputs);
  const gradients = tape.differentiate(
    outputs.map((one, k) => [one, seeds[k]]),
    before,
  );
  return { states: Object.keys(states), forward, outputs, backward: tape.needed(gradients), gradients };
}

/** What may be called. */
const FUNCTIONS = ["spike", "detach", "exp", "tanh", "sigmoid", "where"];

/** An expression of Python, recorded while it is read from left to right. */
class Expression {
  /** @param {string} text @param {Tape} tape @param {(name: string) => Operand} read */
  constructor(text, tape, read) {
    this.tokens = text.match(/\d+\.?\d*(?:e[-+]?\d+)?|\.\d+|\w+|\*\*|[<>=!]=|\S/gi) ?? [];
    this.tape = tape;
    this.read = read;
  }

  parse() {
    const found = this.#comparison();
    if (this.tokens.length) throw Error(`"${this.tokens[0]}" is not understood here`);
    return found;
  }

  /** Take the next token if it is one of these. @param {string[]} of */
  #take(...of) {
    return of.some((one) => one === this.tokens[0]) ? this.tokens.shift() : undefined;
  }

  /** @param {string} operation @param {...Operand} operands @returns {Operand} */
  #record(operation, ...operands) {
    const flags = operands.slice(operation === "where" ? 1 : 0);
    if (flags.some((one) => typeof one !== "number" && one.isFlag)) {
      throw Error("a comparison can only be the first argument of where(...)");
    }
    if (!operands.every((one) => typeof one === "number")) return this.tape.record(operation, ...operands);
    return /** @type {number} */ (OPERATIONS[operation].value(...operands));
  }

  /** @returns {Operand} */
  #comparison() {
    const left = this.#sum();
    const sign = this.#take(...Object.keys(COMPARISONS));
    if (!sign) return left;
    const right = this.#sum();
    if (typeof left === "number" && typeof right === "number") throw Error("a comparison needs x, a state, or both");
    return this.#record(COMPARISONS[/** @type {keyof typeof COMPARISONS} */ (sign)], left, right);
  }

  #sum() {
    return this.#binary(["+", "-"], () => this.#binary(["*", "/"], () => this.#signed()));
  }

  /** @param {string[]} signs @param {() => Operand} next */
  #binary(signs, next) {
    let left = next();
    for (let sign = this.#take(...signs); sign; sign = this.#take(...signs)) {
      left = this.#record(SIGNS[/** @type {keyof typeof SIGNS} */ (sign)], left, next());
    }
    return left;
  }

  /** @returns {Operand} */
  #signed() {
    if (this.#take("-")) return this.#record("neg", this.#signed());
    const base = this.#atom();
    if (!this.#take("**")) return base;
    const power = this.tokens.shift();
    if (power !== "2" && power !== "3") throw Error("powers are **2 and **3");
    const square = this.#record("mul", base, base);
    return power === "2" ? square : this.#record("mul", square, base);
  }

  /** @returns {Operand} */
  #atom() {
    const token = this.tokens.shift();
    if (token === undefined) throw Error("a line ends too early");
    if (token === "(") {
      const inside = this.#comparison();
      if (!this.#take(")")) throw Error('a ")" is missing');
      return inside;
    }
    if (/^[.\d]/.test(token)) return Number(token);
    if (!/^[a-z]\w*$/i.test(token)) throw Error(`"${token}" is not understood here`);
    if (!this.#take("(")) return this.read(token);
    const operands = [this.#comparison()];
    while (this.#take(",")) operands.push(this.#comparison());
    if (!this.#take(")")) throw Error(`a ")" is missing after ${token}(`);
    return this.#call(token, operands);
  }

  /** @param {string} name @param {Operand[]} operands */
  #call(name, operands) {
    if (!FUNCTIONS.includes(name)) throw Error(`there is no ${name}: known are ${FUNCTIONS.join(", ")}`);
    const expected = OPERATIONS[name].value.length;
    if (operands.length !== expected) throw Error(`${name} takes ${expected} argument${expected > 1 ? "s" : ""}`);
    const [first, ...others] = operands;
    if (typeof first === "number") throw Error(`${name} needs x or a state`);
    if (name === "where" && !first.isFlag) throw Error("the first argument of where is a comparison");
    if (name === "where" && others.every((one) => typeof one === "number")) {
      throw Error("one of the last two arguments of where must depend on x or a state");
    }
    return this.#record(name, ...operands);
  }
}

/** Return a number as Python writes it. @param {number} value */
const numeral = (value) => (Number.isInteger(value) && Math.abs(value) < 1e16 ? value.toFixed(1) : `${value}`);

/** @param {Sym} symbol */
export const textOf = ({ name, value }) => (value === undefined ? name : numeral(value));

/** Return statements as Python has them. @param {Statement[]} statements */
export const lines = (statements) =>
  statements.map(({ result, operation, operands }) => {
    const right = OPERATIONS[operation].text.replace(/\{(\d)\}/g, (_, k) => textOf(operands[k]));
    return `${result.name} = ${right}`;
  });

/**
 * Compute statements.
 * @param {Statement[]} statements
 * @param {Record<string, number | boolean>} values  of what they read, and after them of all results
 */
function run(statements, values) {
  const of = (/** @type {Sym} */ one) => one.value ?? values[one.name];
  for (const { result, operation, operands } of statements) {
    values[result.name] = OPERATIONS[operation].value(...operands.map(of));
  }
  return (/** @type {Sym} */ one) => /** @type {number} */ (of(one));
}

/**
 * Return a program as a cell of one neuron.
 * @param {Program} program
 * @returns {import("./scan.js").Cell}
 */
export function cellOf({ states, forward, outputs, backward, gradients }) {
  /** @param {string} name @param {Float64Array[]} values */
  const named = (name, values) => values.map((value, k) => [`${name}${k}`, value[0]]);
  return {
    initial: states.map(() => 0),
    step(_, x, v, __, y) {
      const of = run(forward, { x: x[0], ...Object.fromEntries(named("v", v)) });
      const [spike, ...after] = outputs.map(of);
      y[0] = spike;
      for (const [k, value] of after.entries()) v[k][0] = value;
    },
    back(_, x, v, __, gY, gV, gX) {
      const values = Object.fromEntries([...named("v", v), ...named("g_v", gV)]);
      const [toX, ...before] = gradients.map(run(backward, { x: x[0], g_y: gY[0], ...values }));
      gX[0] = toX;
      for (const [k, value] of before.entries()) gV[k][0] = value;
    },
  };
}
