/** Arrays of bytes that `deflated` in Python has packed. */

import { bytes } from "./bytes.js";

/**
 * Return the bytes, in the order of the array in memory.
 * @param {string} packed
 */
export async function inflated(packed) {
  const stream = new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
