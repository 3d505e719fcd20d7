//! The paint scheduler: when and what the page paints.
//!
//! Problem. Data comes in bursts from a worker, twenty times a second or sixty; pointers move, themes change,
//! windows slide with time. If each of these painted at once, a burst would paint one chart five times in a
//! frame, a slow lane would hold up all others, and one broken lane would stop the page.
//!
//! Answer. Nothing paints when something happens. What happened marks a part dirty; once per animation frame
//! the dirty parts are painted, each inside its own fence. These guarantees hold, and `scheduler.test.ts`
//! shows each of them:
//!
//! 1. **At most one paint of a part per animation frame**, however often it is marked. A mark made while
//!    painting counts for the next frame, so a part cannot keep a frame alive.
//! 2. **Only dirty parts are painted**, in the order they were registered; a clean part costs nothing.
//! 3. **A throw drops only that part's paint.** It is counted in `failures` and handed to `onFailure`; the
//!    other parts are painted in the same frame. The part is clean again and has its next chance when it is
//!    next marked: a part that always fails costs one attempt per change, not a loop.
//! 4. **A hidden page paints nothing.** Marks are kept. When the page is shown again every part is marked, for
//!    the feed starts from a keyframe then and anything may have changed.
//! 5. **After a frame in which something was painted, `afterPaint` is called once**, in a task posted from the
//!    animation frame: browsers run it behind style, layout and paint of that frame. Event-to-pixel latency
//!    is read there.
//! 6. **Frames are counted from one clock**, the timestamp the browser gives each frame, and only while shown.
//!
//! 7. **Of the heavy parts (charts, trends, tickers) one is painted per frame**, the one that waited longest, so
//!    that many that are dirty at once share the frames to come instead of making one late. After everything
//!    was marked (a page shown again, another theme) all are painted at once.
//! 8. **A part with a pace is painted no oftener than that**; its mark waits. What a hand is waiting for
//!    hurries and is painted in the next frame, whatever its pace or weight.
//!
//! What it does not promise: that a paint fits into a frame. That is the parts' budget (`chart/build` drops
//! to the pixel grid); the frame meter shows when it is missed.
//! Not here: what a part paints; whether data is good (`feed`).

/** The browser, so far as painting needs it; a test brings its own. */
export interface FrameSource {
  requestFrame(callback: (timestamp: number) => void): void;
  /** Runs `callback` as a task after the frame now being prepared. */
  post(callback: () => void): void;
  readonly hidden: boolean;
}

export interface Part {
  readonly name: string;
  /** Paint me in the next frame in which my manner allows it. `stamp`: the oldest event of the update that asks for it. */
  mark(stamp?: number): void;
  /** Paint me in the next frame. */
  hurry(): void;
  /** Never paint me again. */
  remove(): void;
}

/** How a part is painted. */
export interface Manner {
  /** Shares the frames with the other heavy ones. */
  readonly heavy?: boolean;
  /** Milliseconds from one paint to the next, at least; a number, or asked at each frame. */
  readonly paceMs?: number | (() => number);
}

/** Paints what is due; `oldest` is the oldest stamp it was marked with since its last paint. */
export type Paint = (timestamp: number, oldest: number | undefined) => void;

interface Entry {
  readonly name: string;
  readonly paint: Paint;
  readonly heavy: boolean;
  /** Undefined for a part that is painted in the frame after its mark. */
  readonly pace: (() => number) | undefined;
  dirty: boolean;
  hurried: boolean;
  oldest: number | undefined;
  /** Timestamp of its last paint. */
  painted: number;
  /** The frame before which it was marked; says how long a heavy one has waited. */
  since: number;
}

export class PaintScheduler {
  /** Paints that threw. */
  failures = 0;
  /** Frames in which something was painted. */
  painted = 0;
  /** Marks of parts that are painted in the next frame; who compares sees whether an update will be on the screen then. */
  prompt = 0;
  private entries: Entry[] = [];
  private running = false;
  /** Frames asked for before the last pause are not ours any more. */
  private chain = 0;
  private frames = 0;
  private everything = false;

  constructor(
    private readonly source: FrameSource,
    private readonly hooks: {
      /** Each frame, before painting: time moved, mark what shows it. */
      readonly onFrame: (timestamp: number) => void;
      readonly afterPaint: () => void;
      readonly onFailure: (part: string, error: unknown) => void;
    },
  ) {}

  /** A new part, dirty. Parts are painted in the order of these calls, heavy ones when it is their turn. */
  register(name: string, paint: Paint, { heavy = false, paceMs }: Manner = {}): Part {
    const pace = typeof paceMs === "number" ? () => paceMs : paceMs;
    const entry: Entry = { name, paint, heavy, pace, dirty: true, hurried: false, oldest: undefined, painted: Number.NEGATIVE_INFINITY, since: this.frames };
    this.entries.push(entry);
    const mark = (stamp = 0): void => {
      if (!entry.dirty) entry.since = this.frames;
      entry.dirty = true;
      if (!heavy && pace === undefined) this.prompt += 1;
      if (stamp > 0) entry.oldest = Math.min(stamp, entry.oldest ?? stamp);
    };
    return {
      name,
      mark,
      hurry: () => {
        mark();
        entry.hurried = true;
      },
      remove: () => {
        this.entries = this.entries.filter((other) => other !== entry);
      },
    };
  }

  markAll(): void {
    for (const entry of this.entries) entry.dirty = true;
    this.everything = true;
  }

  /** Begins, or goes on after the page was hidden. */
  start(): void {
    if (this.running || this.source.hidden) return;
    this.running = true;
    this.markAll();
    this.ask();
  }

  /** The page is hidden. Browsers hold back the frame asked for last until it is shown again: `start` asks for another. */
  pause(): void {
    this.running = false;
    this.chain += 1;
  }

  private ask(): void {
    const { chain } = this;
    this.source.requestFrame((timestamp) => {
      if (chain === this.chain) this.frame(timestamp);
    });
  }

  private frame(timestamp: number): void {
    if (this.source.hidden) return this.pause();
    this.ask();
    this.fence("frame", () => this.hooks.onFrame(timestamp));
    const due = this.due(timestamp);
    this.frames += 1;
    if (due.length === 0) return;
    for (const entry of due) {
      entry.dirty = false;
      entry.hurried = false;
      entry.painted = timestamp;
    }
    for (const entry of due) {
      const { oldest } = entry;
      entry.oldest = undefined;
      this.fence(entry.name, () => entry.paint(timestamp, oldest));
    }
    this.painted += 1;
    this.source.post(this.hooks.afterPaint);
  }

  /** What this frame paints. */
  private due(timestamp: number): Entry[] {
    const dirty = this.entries.filter((entry) => entry.dirty);
    const everything = this.everything;
    this.everything = false;
    if (everything) return dirty;
    const ready = dirty.filter((entry) => entry.hurried || entry.pace === undefined || timestamp - entry.painted >= entry.pace());
    let turn: Entry | undefined;
    for (const entry of ready) if (entry.heavy && (turn === undefined || entry.since < turn.since)) turn = entry;
    return ready.filter((entry) => !entry.heavy || entry.hurried || entry === turn);
  }

  private fence(name: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(name, error);
    }
  }

  /** Counts a paint that failed, here or in another thread. */
  fail(name: string, error: unknown): void {
    this.failures += 1;
    this.hooks.onFailure(name, error);
  }
}

/** The real browser. */
export function browserFrames(): FrameSource {
  const channel = new MessageChannel();
  const posted: (() => void)[] = [];
  channel.port1.onmessage = () => posted.shift()?.();
  return {
    requestFrame: (callback) => void requestAnimationFrame(callback),
    post: (callback) => {
      posted.push(callback);
      channel.port2.postMessage(0);
    },
    get hidden() {
      return document.hidden;
    },
  };
}
