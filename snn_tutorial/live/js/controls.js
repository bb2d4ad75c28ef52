/** Controls with a label: the browser's own, so that keyboard, touch and screen readers work as everywhere. */

/**
 * @template T
 * @typedef {{element: HTMLElement, input: HTMLElement, value: T}} Control  What a reader sets; `value` may be assigned.
 */

/**
 * Return a new element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [options]  properties
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
}

/**
 * Return an input with its label before it and, if it has one, what it is set to behind it.
 * @param {string} label
 * @param {HTMLElement} input
 * @param {...(Node | string)} after
 */
function labelled(label, input, ...after) {
  input.ariaLabel = label; // the element around it holds more text
  return make("label", {}, make("span", {}, label), input, ...after);
}

/**
 * A slider. `values`, if given, are what its stops stand for.
 * @param {string} label
 * @param {{min?: number, max?: number, step?: number, value: number, unit?: string, values?: number[]}} options
 * @returns {Control<number>}
 */
export function slider(label, { min = 0, max = 1, step = 1, value, unit = "", values }) {
  const range = values ? { min: 0, max: values.length - 1, step: 1 } : { min, max, step };
  const input = make("input", { type: "range" });
  for (const [name, number] of Object.entries(range)) input.setAttribute(name, `${number}`);
  const shown = make("output");
  const read = () => (values ? values[input.valueAsNumber] : input.valueAsNumber);
  const show = () => {
    shown.value = `${read()}${unit && ` ${unit}`}`;
    input.setAttribute("aria-valuetext", shown.value);
  };
  input.addEventListener("input", show);
  const control = {
    element: labelled(label, input, shown),
    input,
    get value() {
      return read();
    },
    set value(given) {
      input.valueAsNumber = values ? values.indexOf(given) : given;
      show();
    },
  };
  control.value = value;
  return control;
}

/**
 * A menu; its value is one of `options`, or the number of one.
 * @param {string} label
 * @param {string[]} options
 * @param {number} [first]
 * @returns {Control<number>}
 */
export function menu(label, options, first = 0) {
  const input = make("select", {}, ...options.map((name) => make("option", {}, name)));
  input.selectedIndex = first;
  return {
    element: labelled(label, input),
    input,
    get value() {
      return input.selectedIndex;
    },
    set value(given) {
      input.selectedIndex = given;
    },
  };
}

/**
 * A box to tick.
 * @param {string} label
 * @param {boolean} first
 * @returns {Control<boolean>}
 */
export function box(label, first) {
  const input = make("input", { type: "checkbox", checked: first, ariaLabel: label });
  return {
    element: make("label", {}, input, make("span", {}, label)),
    input,
    get value() {
      return input.checked;
    },
    set value(given) {
      input.checked = given;
    },
  };
}

/**
 * A button that stays pressed until it is pressed again.
 * @param {string} label
 * @param {string} description
 * @param {boolean} first
 * @returns {Control<boolean>}
 */
export function toggle(label, description, first) {
  const input = make("button", { type: "button", title: description }, label);
  const control = {
    element: input,
    input,
    get value() {
      return input.ariaPressed === "true";
    },
    set value(given) {
      input.ariaPressed = `${given}`;
    },
  };
  input.ariaLabel = description;
  control.value = first;
  input.addEventListener("click", () => {
    control.value = !control.value;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  return control;
}

/**
 * A button that does something.
 * @param {string} label
 * @param {() => void} act
 */
export function button(label, act) {
  const input = make("button", { type: "button" }, label);
  input.addEventListener("click", act);
  return input;
}
