//! Numbers that say their unit. A branded number is a plain number at run time; the brand only stops a
//! wall-clock time from being used as a monotonic one, or CSS pixels as device pixels.
//! Not here: text for people (`format`).

declare const unit: unique symbol;
type Brand<Name extends string> = number & { readonly [unit]: Name };

/** Milliseconds since 1970-01-01 UTC, by the server's clock. */
export type UnixMs = Brand<"unix-ms">;
/** Milliseconds of a clock that only grows, the same in the page and in its worker. */
export type MonoMs = Brand<"mono-ms">;
/** A span of time in milliseconds. */
export type Millis = Brand<"millis">;
/** Lengths on the page. */
export type CssPixels = Brand<"css-px">;
/** Lengths on the canvas: CSS pixels times the device pixel ratio. */
export type DevicePixels = Brand<"device-px">;

export const unixMs = (value: number): UnixMs => value as UnixMs;
export const monoMs = (value: number): MonoMs => value as MonoMs;
export const millis = (value: number): Millis => value as Millis;
export const cssPixels = (value: number): CssPixels => value as CssPixels;
export const devicePixels = (value: number): DevicePixels => value as DevicePixels;

/**
 * Now, on the clock shared by page and worker. `performance.now()` alone starts at zero in each of them;
 * with `timeOrigin` added both read the same monotonic clock.
 */
export const monoNow = (): MonoMs => monoMs(performance.timeOrigin + performance.now());

/** Unix nanoseconds as milliseconds; keeps the quarter microsecond a double can hold. */
export const fromNanos = (nanos: bigint): UnixMs => unixMs(Number(nanos / 1_000n) / 1_000);
