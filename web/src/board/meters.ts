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

/** Latencies by bucket. Nothing is sorted in a frame: a quantile is a walk over buckets. */
export class Histogram {
  readonly counts = new Uint32Array(BUCKETS);
  n = 0;

  /** Counts once more, or (`-1`) once less. */
  add(ms: number, change: 1 | -1 = 1): void {
    const bucket = Math.min(BUCKETS - 1, Math.floor(ms / BUCKET_MS));
    this.counts[bucket] = (this.counts[bucket] as number) + change;
    this.n += change;
  }

  /** The upper edge of the bucket in which share `q` is reached: infinite in the last one, NaN where there was nothing. */
  quantile(q: number): number {
    let seen = 0;
    const wanted = Math.max(1, Math.ceil(this.n * q));
    const bucket = this.counts.findIndex((count) => (seen += count) >= wanted);
    if (bucket < 0) return Number.NaN;
    return bucket === BUCKETS - 1 ? Number.POSITIVE_INFINITY : (bucket + 1) * BUCKET_MS;
  }
}

export class LatencyMeter {
  /** Of the whole visit. */
  readonly histogram = new Histogram();
  /** Of the window; what it holds stands in a ring, oldest at `first`. */
  private readonly recent = new Histogram();
  private readonly at = new Float64Array(SAMPLES_MAX);
  private readonly ms = new Float32Array(SAMPLES_MAX);
  private first = 0;

  /** An event that arrived `latency` ms before the paint that first shows it, seen at `now`. */
  record(latency: number, now: number): void {
    if (!Number.isFinite(latency)) return;
    // A clock offset is known to half a round trip: a sub-millisecond negative is a zero, not an error.
    const ms = Math.fround(Math.max(0, latency));
    this.forget(now);
    if (this.recent.n === SAMPLES_MAX) this.forgetFirst();
    const place = (this.first + this.recent.n) % SAMPLES_MAX;
    this.at[place] = now;
    this.ms[place] = ms;
    this.recent.add(ms);
    this.histogram.add(ms);
  }

  /** Of the last 60 s, to a bucket's width; NaN where there was nothing. */
  summary(now: number): Latency {
    this.forget(now);
    const { n } = this.recent;
    const [p50, p99, max] = [0.5, 0.99, 1].map((q) => this.recent.quantile(q)) as [number, number, number];
    if (max !== Number.POSITIVE_INFINITY) return { p50, p99, max, n };
    // Seconds late: no buckets there, and no hurry either.
    const sorted = Float64Array.from({ length: n }, (_, i) => this.ms[(this.first + i) % SAMPLES_MAX] as number).sort();
    return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: quantile(sorted, 1), n };
  }

  private forget(now: number): void {
    while (this.recent.n > 0 && (this.at[this.first] as number) <= now - WINDOW_MS) this.forgetFirst();
  }

  private forgetFirst(): void {
    this.recent.add(this.ms[this.first] as number, -1);
    this.first = (this.first + 1) % SAMPLES_MAX;
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
