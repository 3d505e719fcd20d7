//! What page and worker say to each other. Columns travel as transferables: handed over, not copied.

import type { Board, CellId } from "../wire/layout";
import type { Level } from "../wire/frame";
import type { Millis, UnixMs } from "../units/brand";

/** State of the connection to the board server, as the footer and the banner show it. */
export type LinkState = "connecting" | "live" | "resuming" | "reconnecting" | "gone";

/** A row of a ticker or of an alert lane; `text` is the parsed JSON of the wire. */
export interface Row {
  readonly id: number;
  readonly t: number;
  readonly level: Level;
  readonly text: Readonly<Record<string, unknown>>;
}

export interface LaneHead { readonly lane: number; readonly item: number; readonly since: number; readonly until: number }

/** New points of some series: series `i` owns `[ends[i-1], ends[i])` of `t` and `v`. */
export interface PointColumns { readonly cells: Uint32Array; readonly ends: Uint32Array; readonly t: Float64Array; readonly v: Float64Array }

/**
 * Everything that changed since the page last took an update: one frame, or several merged. Clears apply
 * first, then the rest in any order.
 */
export interface Update {
  readonly epoch: string;
  readonly generation: number;
  /** The update stands alone: forget what was shown before. */
  readonly full: boolean;
  /** The state this update applies on; not looked at if `full`. */
  readonly baseSeq: number;
  readonly seq: number;
  /** Frames merged into this update, at least 1. */
  readonly frames: number;
  /** Arrival of the oldest event shown for the first time, 0 if there is none. */
  readonly stamp: UnixMs;
  readonly events: number;
  readonly sent: UnixMs;
  readonly clears: Uint32Array;
  readonly cells: Uint32Array;
  readonly values: Float64Array;
  readonly levels: Uint8Array;
  readonly texts: readonly (readonly [CellId, string, Level])[];
  readonly points: PointColumns;
  readonly lanes: readonly LaneHead[];
  readonly series: readonly (readonly [chart: number, series: readonly (readonly [CellId, string])[]])[];
  /** Appended rows, oldest first, by ticker cell. */
  readonly rows: readonly (readonly [CellId, readonly Row[]])[];
  /** Complete sets, by alerts cell. */
  readonly alerts: readonly (readonly [CellId, readonly Row[]])[];
}

/** Frames the worker refused, by reason; each was answered by asking for a keyframe. */
export interface Refusals { readonly crc: number; readonly gap: number; readonly generation: number; readonly malformed: number }

export interface LinkStatus {
  readonly state: LinkState;
  /** Server clock minus the shared monotonic clock; undefined until the first answer. */
  readonly offset: Millis | undefined;
  readonly rtt: Millis | undefined;
  /** When the next attempt is made, on the monotonic clock; undefined while connected. */
  readonly retryAt: number | undefined;
  readonly attempts: number;
  readonly conflated: number;
  readonly bytes: number;
  readonly refusals: Refusals;
  readonly server: string;
}

export type ToPage =
  | { readonly kind: "layout"; readonly epoch: string; readonly generation: number; readonly board: Board }
  | { readonly kind: "update"; readonly update: Update }
  | { readonly kind: "status"; readonly status: LinkStatus };

export interface Report {
  /** Absent while nothing was measured. */
  readonly event_to_pixel_ms?: { readonly p50: number; readonly p99: number };
  readonly fps: number;
  readonly dropped: number;
}

export type ToWorker =
  | { readonly kind: "open"; readonly board: string }
  | { readonly kind: "taken" }
  | { readonly kind: "visible"; readonly visible: boolean }
  | { readonly kind: "resync" }
  | { readonly kind: "retry" }
  | { readonly kind: "report"; readonly report: Report };
