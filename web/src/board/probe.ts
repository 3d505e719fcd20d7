//! `window.__lantern`: what tests and benchmarks read of the page. Copies only; nothing here changes the page.

import type { LinkStatus } from "../feed/messages";
import type { BoardState } from "../feed/state";
import type { Paced } from "./context";
import { monoNow } from "../units/brand";
import type { Board } from "../wire/layout";
import { BUCKET_MS, type FrameMeter, type Histogram, type LatencyMeter } from "./meters";
import type { PaintScheduler } from "./scheduler";

interface Sources {
  readonly state: BoardState;
  readonly latency: LatencyMeter;
  readonly following: Readonly<Record<Paced, Histogram>>;
  readonly frames: FrameMeter;
  readonly scheduler: PaintScheduler;
  readonly status: () => LinkStatus | undefined;
  readonly board: () => Board | undefined;
}

export function exposeProbe({ state, latency, following, frames, scheduler, status, board }: Sources): void {
  const probe = {
    /** Sequence, generation and the newest value, level and text of every cell. */
    state: () => ({
      seq: state.seq,
      epoch: state.epoch,
      generation: state.generation,
      sent: state.sent,
      board: board(),
      cells: Object.fromEntries([...state.cells].map(([id, cell]) => [id, { ...cell }])),
      points: Object.fromEntries([...state.points].map(([id, series]) => [id, { n: series.length, t: series.lastTime, v: series.last }])),
      lanes: [...state.lanes.values()],
      rows: Object.fromEntries([...state.rows].map(([id, rows]) => [id, rows.length])),
      alerts: Object.fromEntries([...state.alerts].map(([id, rows]) => [id, rows.map((row) => row.text)])),
    }),
    /** Event to pixel of the last 60 s, in milliseconds. */
    latency: () => latency.summary(monoNow()),
    /** Event to pixel since the page was opened, in buckets of `bucketMs`. */
    histogram: () => ({ bucketMs: BUCKET_MS, counts: Array.from(latency.histogram.counts) }),
    /** The same of what keeps a pace. */
    following: (kind: Paced) => ({ bucketMs: BUCKET_MS, counts: Array.from(following[kind].counts) }),
    frames: () => ({ fps: frames.fps, dropped: frames.dropped, shown: frames.frames, painted: scheduler.painted, failures: scheduler.failures, periodMs: frames.period }),
    link: () => status(),
    get inconsistencies() {
      return state.inconsistencies;
    },
  };
  Object.defineProperty(window, "__lantern", { value: Object.freeze(probe), enumerable: true });
}
