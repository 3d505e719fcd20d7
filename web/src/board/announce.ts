//! What a screen reader is told without asking: rarely, politely, and merged.
//!
//! Invariant: at most one announcement every `QUIET_MS`; what happens between is merged, and past
//! `WAITING_MAX` only the newest is kept. Pure: told the time, answers what to say now.

export const QUIET_MS = 5_000;
export const WAITING_MAX = 4;

export class Announcer {
  private waiting: string[] = [];
  private spoke = Number.NEGATIVE_INFINITY;

  add(text: string): void {
    this.waiting = [...this.waiting.filter((other) => other !== text), text].slice(-WAITING_MAX);
  }

  /** What to say at `now`, if anything. */
  next(now: number): string | undefined {
    if (this.waiting.length === 0 || now - this.spoke < QUIET_MS) return undefined;
    this.spoke = now;
    const text = this.waiting.join(" ");
    this.waiting = [];
    return text;
  }
}
