//! When to try again: exponential with full jitter, so that a thousand walls do not come back in one beat.
//! Pure: randomness is an argument in `[0, 1)`.

import { millis, type Millis } from "../units/brand";

export const FIRST_MS = 100;
export const MOST_MS = 5_000;

/** The wait before attempt `attempt` (0 is the first after a cut): half fixed, half random, below `MOST_MS`. */
export function backoff(attempt: number, random: number): Millis {
  const ceiling = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return millis(ceiling / 2 + (ceiling / 2) * random);
}
