//! The viewer's side of the board protocol as a state machine: told what happened and the time, it answers
//! what to do. It owns the sequence, asks for keyframes, and keeps the one update the page has not taken.
//!
//! ```text
//!            open()             socket open          layout + keyframe
//!   (none) ─────────> connecting ─────────> resuming ─────────────────> live
//!                        ^  ^                  ^  gap, bad crc, wrong      │
//!                        │  └── retry after ───┼─ generation, visible ─────┤
//!                        │      back-off       └── again (ask keyframe) ───┘
//!                    reconnecting <──────── closed, silent for SILENCE_MS
//!   any ── gone ──> gone   (until open())
//! ```
//!
//! Invariants: a frame joins the pending update only if it is a keyframe of the layout's generation or a delta
//! on exactly the state before it; the page's last good state is never touched by anything else. At most one
//! update is on its way to the page. Nothing here touches a socket, a timer or a clock (`worker` does).
//! Wire: `docs/format/frame.md`.

import { fromNanos, millis, monoMs, type Millis, type MonoMs } from "../units/brand";
import { WireError } from "../wire/error";
import { decodeFrame } from "../wire/frame";
import { parseControl, type Board } from "../wire/layout";
import { backoff } from "./backoff";
import { ServerClock } from "./clock";
import type { LinkState, LinkStatus, Report, ToPage } from "./messages";
import { Pending } from "./pending";

/** A server that says nothing for this long (pings are answered at once) is taken for gone. */
export const SILENCE_MS = 6_000;
/** A keyframe that was asked for and has not come is asked for again. */
export const KEYFRAME_PATIENCE_MS = 1_000;
/** The first pings go out quickly, for a good offset at once; then one every two seconds. */
const QUICK_PINGS = 6;
const QUICK_PING_MS = 120;
const PING_MS = 2_000;

export const PROTOCOL = 1;

export type Action =
  | { readonly do: "connect"; readonly board: string }
  | { readonly do: "disconnect" }
  | { readonly do: "send"; readonly text: string }
  | { readonly do: "post"; readonly message: ToPage; readonly transfer: readonly ArrayBuffer[] };

export class FeedMachine {
  private state: LinkState = "connecting";
  private board = "";
  private epoch = "";
  private server = "";
  private layout: { generation: number; board: Board } | undefined;
  /** Sequence of the last good frame; undefined until a keyframe came. */
  private seq: number | undefined;
  private pending = new Pending(new Set());
  private pageBusy = false;
  private visible = true;
  private heard = 0;
  private pinged = Number.NEGATIVE_INFINITY;
  private pings = 0;
  private asked: number | undefined;
  private retryAt: MonoMs | undefined;
  private attempts = 0;
  private conflated = 0;
  private bytes = 0;
  private readonly refusals = { crc: 0, gap: 0, generation: 0, malformed: 0 };
  private readonly clock = new ServerClock();
  private out: Action[] = [];

  constructor(private readonly random: () => number) {}

  /** Shows another board, or the first one. */
  open(board: string, now: MonoMs): Action[] {
    this.out.push({ do: "disconnect" });
    this.board = board;
    this.attempts = 0;
    this.forget();
    this.connect(now);
    return this.flush();
  }

  connected(now: MonoMs): Action[] {
    this.heard = now;
    this.pinged = Number.NEGATIVE_INFINITY;
    this.pings = 0;
    this.clock.reset();
    this.retryAt = undefined;
    this.move("resuming");
    return this.flush();
  }

  /** The socket closed or could not open. */
  closed(now: MonoMs): Action[] {
    if (this.state === "gone" || this.board === "" || this.retryAt !== undefined) return this.flush();
    this.seq = undefined;
    this.asked = undefined;
    this.retryAt = monoMs(now + backoff(this.attempts, this.random()));
    this.attempts += 1;
    this.move("reconnecting");
    return this.flush();
  }

  text(text: string, now: MonoMs): Action[] {
    this.heard = now;
    try {
      this.control(text, now);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.refusals.malformed += 1;
    }
    return this.flush();
  }

  binary(buffer: ArrayBuffer, now: MonoMs): Action[] {
    this.heard = now;
    this.bytes += buffer.byteLength;
    if (!this.visible || this.layout === undefined) return this.flush();
    try {
      this.frame(buffer, now);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.refusals[error.fault === "crc" ? "crc" : "malformed"] += 1;
      this.lose(now);
    }
    return this.flush();
  }

  /** Called every few tens of milliseconds. */
  tick(now: MonoMs): Action[] {
    if (this.retryAt !== undefined && now >= this.retryAt) this.connect(now);
    // Also a connection that never opens is given up: the other side may have stopped in the middle.
    if (this.board !== "" && this.state !== "gone" && this.retryAt === undefined && now - this.heard > SILENCE_MS) {
      this.out.push({ do: "disconnect" });
      return this.closed(now);
    }
    if (this.state === "resuming" || this.state === "live") {
      const every = this.pings < QUICK_PINGS ? QUICK_PING_MS : PING_MS;
      if (now - this.pinged >= every) this.ping(now);
      if (this.visible && this.asked !== undefined && now - this.asked >= KEYFRAME_PATIENCE_MS) this.ask(now);
    }
    return this.flush();
  }

  /** The page took the last update and can take another. */
  taken(): Action[] {
    this.pageBusy = false;
    this.offer();
    return this.flush();
  }

  /** A hidden page takes nothing; a visible one starts from a keyframe. */
  setVisible(visible: boolean, now: MonoMs): Action[] {
    if (visible === this.visible) return this.flush();
    this.visible = visible;
    this.pending.clear();
    if (visible && this.layout !== undefined) {
      this.asked = undefined;
      this.lose(now);
    }
    return this.flush();
  }

  /** The page could not apply an update: begin again from a keyframe. */
  resync(now: MonoMs): Action[] {
    this.lose(now);
    return this.flush();
  }

  /** Does not wait for the back-off any longer (the network came back, the user asked). */
  retry(now: MonoMs): Action[] {
    if (this.retryAt !== undefined) this.connect(now);
    return this.flush();
  }

  report(report: Report): Action[] {
    if (this.state === "live") this.send({ type: "report", ...report });
    return this.flush();
  }

  status(): LinkStatus {
    const best = this.clock.best;
    return {
      state: this.state, offset: best?.offset, rtt: best?.rtt, retryAt: this.retryAt, attempts: this.attempts,
      conflated: this.conflated, bytes: this.bytes, refusals: { ...this.refusals }, server: this.server,
    };
  }

  private control(text: string, now: MonoMs): void {
    const message = parseControl(text);
    switch (message.type) {
      case "hello":
        if (message.protocol !== PROTOCOL) throw new WireError("version", `protocol ${message.protocol}`);
        this.server = message.server;
        if (message.epoch !== this.epoch) {
          this.epoch = message.epoch;
          this.seq = undefined;
          this.layout = undefined;
        }
        this.ping(now);
        return;
      case "layout":
        this.layout = { generation: message.generation, board: message.board };
        this.seq = undefined;
        this.pending = new Pending(alertCells(message.board));
        this.asked = now;
        this.post({ kind: "layout", epoch: this.epoch, generation: message.generation, board: message.board });
        return;
      case "pong":
        this.clock.answer(monoMs(message.t), now, fromNanos(message.unixNs));
        this.postStatus();
        return;
      case "gone":
        this.out.push({ do: "disconnect" });
        this.retryAt = undefined;
        this.move("gone");
        return;
      case "error":
      case "unknown":
        return;
      default: {
        const never: never = message;
        return never;
      }
    }
  }

  private frame(buffer: ArrayBuffer, now: MonoMs): void {
    const frame = decodeFrame(buffer);
    const { header } = frame;
    if (header.generation !== this.layout?.generation) {
      this.refusals.generation += 1;
      this.lose(now);
      return;
    }
    if (!header.keyframe) {
      // Deltas between the loss and the keyframe are expected and not counted one by one.
      if (this.seq === undefined) return this.asked === undefined ? this.ask(now) : undefined;
      if (header.baseSeq !== this.seq || header.seq <= header.baseSeq) {
        this.refusals.gap += 1;
        this.lose(now);
        return;
      }
    } else {
      this.asked = undefined;
    }
    if (!this.pending.empty) this.conflated += 1;
    if (!this.pending.add(frame)) {
      this.lose(now);
      return;
    }
    this.seq = header.seq;
    this.attempts = 0;
    this.move("live");
    this.offer();
  }

  private connect(now: MonoMs): void {
    this.retryAt = undefined;
    this.heard = now;
    if (this.state !== "reconnecting") this.move("connecting");
    this.out.push({ do: "connect", board: this.board });
  }

  private forget(): void {
    this.layout = undefined;
    this.seq = undefined;
    this.asked = undefined;
    this.epoch = "";
    this.pending.clear();
    this.retryAt = undefined;
    this.state = "connecting";
  }

  /** The sequence is broken: what waits is dropped, and only a keyframe helps. */
  private lose(now: MonoMs): void {
    this.seq = undefined;
    this.pending.clear();
    if (this.state === "live") this.move("resuming");
    if (this.asked === undefined) this.ask(now);
  }

  private ask(now: MonoMs): void {
    this.asked = now;
    this.send({ type: "keyframe" });
  }

  private ping(now: MonoMs): void {
    this.pinged = now;
    this.pings += 1;
    this.send({ type: "ping", t: now });
  }

  private send(message: object): void {
    this.out.push({ do: "send", text: JSON.stringify(message) });
  }

  private offer(): void {
    if (this.pageBusy || this.pending.empty || this.layout === undefined) return;
    const { update, transfer } = this.pending.take(this.epoch, this.layout.generation);
    this.pageBusy = true;
    this.out.push({ do: "post", message: { kind: "update", update }, transfer });
  }

  private post(message: ToPage): void {
    this.out.push({ do: "post", message, transfer: [] });
  }

  private postStatus(): void {
    this.post({ kind: "status", status: this.status() });
  }

  private move(state: LinkState): void {
    if (state === this.state && state !== "reconnecting") return;
    this.state = state;
    this.postStatus();
  }

  private flush(): Action[] {
    const out = this.out;
    this.out = [];
    return out;
  }
}

/** Cells whose rows come as complete sets. */
function alertCells(board: Board): Set<number> {
  return new Set(board.lanes.flatMap((lane) => (lane.kind === "alerts" || lane.kind === "table" ? [lane.cell as number] : [])));
}

/** How old the newest frame is, on the server's clock. */
export function dataAge(sent: number, now: MonoMs, offset: Millis): Millis {
  return millis(Math.max(0, now + offset - sent));
}
