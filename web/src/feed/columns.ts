//! The points of one series as two growing columns, oldest first, kept to a window.
//!
//! Invariants: times strictly grow; `t` and `v` have the same length; a point older than the last is dropped,
//! one with the last's time replaces it. Amortised constant time per point.

const FIRST_CAPACITY = 256;
/** Points one series keeps: half an hour at 36 a second. */
export const SERIES_POINTS_MAX = 65_536;

export class SeriesColumns {
  private times = new Float64Array(FIRST_CAPACITY);
  private values = new Float64Array(FIRST_CAPACITY);
  private start = 0;
  private end = 0;

  get length(): number {
    return this.end - this.start;
  }

  /** Times, in Unix milliseconds. A view: valid until the next change. */
  get t(): Float64Array {
    return this.times.subarray(this.start, this.end);
  }

  get v(): Float64Array {
    return this.values.subarray(this.start, this.end);
  }

  /** The newest value, NaN if there is none. */
  get last(): number {
    return this.length === 0 ? Number.NaN : (this.values[this.end - 1] as number);
  }

  get lastTime(): number {
    return this.length === 0 ? Number.NaN : (this.times[this.end - 1] as number);
  }

  append(t: number, v: number): void {
    if (this.length > 0) {
      const last = this.times[this.end - 1] as number;
      if (t < last) return;
      if (t === last) {
        this.values[this.end - 1] = v;
        return;
      }
    }
    if (this.end === this.times.length) this.makeRoom();
    this.times[this.end] = t;
    this.values[this.end] = v;
    this.end += 1;
    if (this.length > SERIES_POINTS_MAX) this.start += 1;
  }

  /** Drops points before `from`, but keeps one of them: the line enters the window from there. */
  trim(from: number): void {
    while (this.length > 1 && (this.times[this.start + 1] as number) < from) this.start += 1;
  }

  clear(): void {
    this.start = 0;
    this.end = 0;
  }

  private makeRoom(): void {
    const { t, v } = this;
    const wide = t.length * 2 > this.times.length;
    const times = wide ? new Float64Array(this.times.length * 2) : this.times;
    const values = wide ? new Float64Array(this.times.length * 2) : this.values;
    times.set(t);
    values.set(v);
    this.end = t.length;
    this.start = 0;
    this.times = times;
    this.values = values;
  }
}
