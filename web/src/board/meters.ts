//! What the page measures of itself: how long an event took to become pixels, and whether frames were kept.
//! Pure: told times, answers numbers. Windows are 60 s; the histogram is for the whole visit.

/** The window of the footer's figures. */
export const WINDOW_MS = 60_000;
/** Paints a window can hold: 60 s at 240 Hz. */
const SAMPLES_MAX = 14_400;
/** The histogram's resolution and reach; what is slower counts in the last bucket. */
export const BUCKET_MS = 0.25;
const BUCKETS = 8_000;

export interface Latency { readonly p50: number; readonly p99: number; readonly max: number; readonly n: number }

export class LatencyMeter {
  readonly histogram = new Uint32Array(BUCKETS);
  private at: number[] = [];
  private ms: number[] = [];

  /** An event that arrived `latency` ms before the paint that first shows it, seen at `now`. */
  record(latency: number, now: number): void {
    if (!Number.isFinite(latency)) return;
    // A clock offset is known to half a round trip: a sub-millisecond negative is a zero, not an error.
    const ms = Math.max(0, latency);
    this.at.push(now);
    this.ms.push(ms);
    const bucket = Math.min(BUCKETS - 1, Math.floor(ms / BUCKET_MS));
    this.histogram[bucket] = (this.histogram[bucket] ?? 0) + 1;
    if (this.at.length > SAMPLES_MAX) this.drop(this.at.length - SAMPLES_MAX);
  }

  /** Of the last 60 s; NaN where there was nothing. */
  summary(now: number): Latency {
    const old = this.at.findIndex((at) => at > now - WINDOW_MS);
    this.drop(old < 0 ? this.at.length : old);
    const sorted = Float64Array.from(this.ms).sort();
    return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted[sorted.length - 1] ?? Number.NaN, n: sorted.length };
  }

  private drop(count: number): void {
    if (count === 0) return;
    this.at.splice(0, count);
    this.ms.splice(0, count);
  }
}

/** The smallest value that at least share `q` of `sorted` does not exceed. */
export function quantile(sorted: Float64Array, q: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * q) - 1)] ?? Number.NaN;
}

/** Gaps from which the display's period is learnt. */
const GAPS = 121;

/**
 * Frames against the display. The period is the median of the latest gaps, so it follows the display; a gap
 * above one and a half periods dropped `round(gap / period) - 1` frames.
 */
export class FrameMeter {
  dropped = 0;
  frames = 0;
  private gaps: number[] = [];
  private stamps: number[] = [];
  private last: number | undefined;
  private periodMs = Number.NaN;

  frame(timestamp: number): void {
    this.frames += 1;
    const { last } = this;
    this.last = timestamp;
    this.stamps.push(timestamp);
    while ((this.stamps[0] as number) < timestamp - 1_000) this.stamps.shift();
    if (last === undefined || timestamp <= last) return;
    const gap = timestamp - last;
    this.gaps.push(gap);
    if (this.gaps.length > GAPS) this.gaps.shift();
    if (this.frames % 30 === 0 || Number.isNaN(this.periodMs)) {
      this.periodMs = quantile(Float64Array.from(this.gaps).sort(), 0.5);
    }
    if (this.gaps.length >= 30 && gap > this.periodMs * 1.5) this.dropped += Math.round(gap / this.periodMs) - 1;
  }

  /** The page was hidden: the gap to the next frame means nothing. */
  pause(): void {
    this.last = undefined;
    this.stamps = [];
  }

  /** Frames in the last second. */
  get fps(): number {
    const n = this.stamps.length;
    if (n < 2) return Number.NaN;
    return ((n - 1) * 1_000) / ((this.stamps[n - 1] as number) - (this.stamps[0] as number));
  }

  get period(): number {
    return this.periodMs;
  }
}
