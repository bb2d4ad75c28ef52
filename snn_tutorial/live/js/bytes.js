/** Arrays of bytes within a view's data, as `packed` in Python writes them. */

/**
 * Return the bytes of base64, in the order of the array in memory (the last axis changes fastest).
 * @param {string} packed
 */
export function bytes(packed) {
  return Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
}
