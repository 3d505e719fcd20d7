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

/** Both histograms are kept as paints come and go, so that a summary is a walk over buckets and never a sort in a frame. */
export class LatencyMeter {
  /** Of the whole visit. */
  readonly histogram = new Uint32Array(BUCKETS);
  /** Of the window; what it holds stands in a ring, oldest at `first`. */
  private readonly recent = new Uint32Array(BUCKETS);
  private readonly at = new Float64Array(SAMPLES_MAX);
  private readonly bucket = new Uint16Array(SAMPLES_MAX);
  private first = 0;
  private n = 0;

  /** An event that arrived `latency` ms before the paint that first shows it, seen at `now`. */
  record(latency: number, now: number): void {
    if (!Number.isFinite(latency)) return;
    // A clock offset is known to half a round trip: a sub-millisecond negative is a zero, not an error.
    const bucket = Math.min(BUCKETS - 1, Math.floor(Math.max(0, latency) / BUCKET_MS));
    this.forget(now);
    if (this.n === SAMPLES_MAX) this.forgetFirst();
    const place = (this.first + this.n) % SAMPLES_MAX;
    this.at[place] = now;
    this.bucket[place] = bucket;
    this.n += 1;
    for (const counts of [this.histogram, this.recent]) counts[bucket] = (counts[bucket] as number) + 1;
  }

  /** Of the last 60 s, each figure the upper edge of its bucket; NaN where there was nothing. */
  summary(now: number): Latency {
    this.forget(now);
    return { p50: this.quantile(0.5), p99: this.quantile(0.99), max: this.quantile(1), n: this.n };
  }

  private quantile(q: number): number {
    let seen = 0;
    const wanted = Math.max(1, Math.ceil(this.n * q));
    const bucket = this.recent.findIndex((count) => (seen += count) >= wanted);
    return bucket < 0 ? Number.NaN : (bucket + 1) * BUCKET_MS;
  }

  private forget(now: number): void {
    while (this.n > 0 && (this.at[this.first] as number) <= now - WINDOW_MS) this.forgetFirst();
  }

  private forgetFirst(): void {
    const bucket = this.bucket[this.first] as number;
    this.recent[bucket] = (this.recent[bucket] as number) - 1;
    this.first = (this.first + 1) % SAMPLES_MAX;
    this.n -= 1;
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
