/** What javascript.py writes from the operations and the surrogate functions of snn_core. */

import type { Operation, Slope } from "./record.js";

export const OPERATIONS: Record<string, Operation>;
export const SLOPES: Record<string, Slope>;
