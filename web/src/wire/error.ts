//! The one error of the decoder: what was wrong and where, for the console and the counters.

/** Why a message was refused. `crc` and `malformed` ask for a keyframe; the rest mean another protocol. */
export type WireFault = "short" | "magic" | "version" | "crc" | "malformed" | "control";

export class WireError extends Error {
  constructor(
    readonly fault: WireFault,
    detail: string,
    readonly position = 0,
  ) {
    super(`${fault} at byte ${position}: ${detail}`);
    this.name = "WireError";
  }
}
