//! The event ticker: newest first. It does not jump under the reader: while the pointer or the focus is on it,
//! or it is scrolled away from its top, it stands still and says how many are new.
//!
//! A stream faster than eyes turns over twice a second, from the top down, some lines a frame, as the boards
//! of railway stations do: fourteen lines written at once would make that frame late.
//!
//! Bounds: rows in memory are the board file's (`feed/state`); rows in the page are what fits the lane while
//! it runs, all of them while it stands still.

import type { Row } from "../feed/messages";
import { formatClock } from "../units/format";
import type { TickerLane } from "../wire/layout";
import { touches, type Context, type LaneView, type Touched } from "./context";
import { attrs, el, setHidden, setText } from "./dom";
import { LEVEL_NAMES } from "./levels";
import type { Part } from "./scheduler";

/** Rows come faster than that only to be overwritten. */
const TURN_MS = 500;
/** Lines written in one frame. */
const LINES_A_FRAME = 3;

interface Line { readonly element: HTMLElement; readonly time: HTMLElement; readonly type: HTMLElement; readonly subject: HTMLElement; readonly text: HTMLElement; id: number }

const text = (value: unknown): string => (typeof value === "string" ? value : typeof value === "number" ? `${value}` : "");

export class TickerView implements LaneView {
  readonly element: HTMLElement;
  private readonly box: HTMLElement;
  private readonly list = el("ol", "ticks");
  private readonly fresh = el("button", "tool fresh");
  private readonly empty: HTMLElement;
  private readonly part: Part;
  private lines: Line[] = [];
  /** What is shown, or will be when the last turn has reached the bottom. */
  private shown: readonly Row[] = [];
  /** The next line that turn has to write; undefined once it is through. */
  private turning: number | undefined;
  /** The lane's size changed during a turn. */
  private unseen = false;
  private height = 0;
  private lineHeight = 0;
  private news = true;
  /** The oldest event that waits for a turn, and the oldest of the turn that is under way. */
  private oldest: number | undefined;
  private oldestTurning: number | undefined;
  private turned = Number.NEGATIVE_INFINITY;
  private held: readonly Row[] | undefined;
  private pointer = false;
  private focus = false;

  constructor(private readonly lane: TickerLane, private readonly context: Context, heading: HTMLElement) {
    this.empty = el("p", "lane-empty", context.words.say("noEvents"));
    this.box = attrs(el("div", "lane-scroll", this.empty, this.list), { tabindex: 0, role: "group", "aria-labelledby": heading.id });
    this.fresh.type = "button";
    this.fresh.hidden = true;
    this.element = attrs(el("section", "lane lane-ticker", el("div", "lane-head", heading, this.fresh), this.box), { "aria-labelledby": heading.id });
    this.part = context.scheduler.register(`ticker ${lane.id}`, () => this.paint(), { heavy: true });
    context.onResize(this.box, (_, height) => {
      this.height = height;
      this.lineHeight = 0;
      this.unseen = this.turning !== undefined;
      this.part.mark();
    });
    const hold = (): void => {
      const still = this.pointer || this.focus || this.box.scrollTop > 4;
      if (still && this.held === undefined) this.held = this.lines.length > 0 ? this.shown : this.rows;
      if (!still) this.held = undefined;
      this.part.hurry();
    };
    this.box.addEventListener("pointerenter", () => ((this.pointer = true), hold()));
    this.box.addEventListener("pointerleave", () => ((this.pointer = false), hold()));
    this.box.addEventListener("focus", () => ((this.focus = this.box.matches(":focus-visible")), hold()));
    this.box.addEventListener("blur", () => ((this.focus = false), hold()));
    this.box.addEventListener("scroll", hold, { passive: true });
    this.fresh.addEventListener("click", () => {
      this.box.scrollTop = 0;
      this.held = undefined;
      if (this.pointer || this.focus) this.held = this.rows;
      this.part.hurry();
    });
  }

  update(touched: Touched): void {
    if (!touches(touched, [this.lane.cell])) return;
    this.news = true;
    if (touched.stamp > 0) this.oldest ??= touched.stamp;
  }

  /** One row is shown at once; a stream of them turns over as often as eyes can follow. */
  frame(timestamp: number): void {
    if (!this.news || this.turning !== undefined || timestamp - this.turned < TURN_MS) return;
    this.news = false;
    this.takeOldest();
    this.turned = timestamp;
    this.part.mark();
  }

  remove(): void {
    this.part.remove();
  }

  private get rows(): readonly Row[] {
    return this.context.state.rows.get(this.lane.cell) ?? [];
  }

  private paint(): void {
    if (this.turning !== undefined && this.held === undefined) return this.goOn(this.turning);
    this.turning = undefined;
    const all = this.rows;
    const rows = this.held ?? all;
    setHidden(this.empty, rows.length > 0);
    setHidden(this.list, rows.length === 0);
    const fits = this.lineHeight > 0 ? Math.ceil(this.height / this.lineHeight) + 1 : 12;
    const wanted = Math.min(rows.length, this.held === undefined ? fits : this.lane.rows);
    const shownAt = rows.findLastIndex((row) => row.id === this.lines[0]?.id);
    this.shown = rows;
    if (this.held === undefined && this.lines.length === wanted && rows.length - 1 - shownAt > LINES_A_FRAME) this.goOn(0);
    else {
      this.show(rows, wanted);
      // What a hand holds still shows no news.
      this.takeOldest();
      if (this.held === undefined) this.through();
      else this.oldestTurning = undefined;
    }
    if (this.lineHeight === 0 && this.lines[0] !== undefined) {
      this.lineHeight = this.lines[0].element.offsetHeight;
      this.part.mark();
    }
    const newest = this.held?.[this.held.length - 1]?.id;
    const news = newest === undefined ? 0 : all.length - 1 - all.findIndex((row) => row.id === newest);
    setHidden(this.fresh, news === 0);
    if (news > 0) setText(this.fresh, this.context.words.say("newEvents", { n: news >= all.length ? `${all.length}+` : news }));
    this.element.classList.toggle("is-paused", this.held !== undefined);
  }

  /** Some lines of a turn, from line `from` on; the others in frames to come. */
  private goOn(from: number): void {
    const end = Math.min(from + LINES_A_FRAME, this.lines.length);
    for (let i = from; i < end; i += 1) this.write(this.lines[i] as Line, this.shown[this.shown.length - 1 - i] as Row);
    this.turning = end < this.lines.length ? end : undefined;
    // Once through, what came meanwhile (the lane's size) is looked at.
    if (this.turning !== undefined || this.unseen) this.part.mark();
    if (this.turning === undefined) {
      this.unseen = false;
      this.through();
    }
  }

  private takeOldest(): void {
    this.oldestTurning ??= this.oldest;
    this.oldest = undefined;
  }

  /** Everything a turn had to show is written. */
  private through(): void {
    this.context.followed("ticker", this.oldestTurning);
    this.oldestTurning = undefined;
  }

  /** The newest `wanted` of `rows`, at once. Lines of rows already shown are moved, not written again. */
  private show(rows: readonly Row[], wanted: number): void {
    const before = new Map(this.lines.map((line) => [line.id, line]));
    const target = Array.from({ length: wanted }, (_, i) => rows[rows.length - 1 - i] as Row);
    const keep = new Set(target.map((row) => row.id));
    const spare = this.lines.filter((line) => !keep.has(line.id));
    const lines = target.map((row) => {
      const known = before.get(row.id);
      if (known !== undefined && keep.delete(row.id)) return known;
      return this.write(spare.pop() ?? makeLine(), row);
    });
    lines.forEach((line, i) => {
      if (this.list.children[i] !== line.element) this.list.insertBefore(line.element, this.list.children[i] ?? null);
    });
    while (this.list.children.length > lines.length) this.list.lastElementChild?.remove();
    this.lines = lines;
  }

  private write(line: Line, row: Row): Line {
    line.id = row.id;
    setText(line.time, formatClock(row.t));
    setText(line.type, text(row.text["type"]));
    setText(line.subject, text(row.text["subject"]));
    setText(line.text, text(row.text["text"]));
    attrs(line.element, { "data-level": LEVEL_NAMES[row.level] });
    return line;
  }
}

function makeLine(): Line {
  const time = el("span", "tick-time");
  const type = el("span", "tick-type");
  const subject = el("span", "tick-subject");
  const body = el("span", "tick-text");
  return { element: el("li", "tick", time, type, subject, body), time, type, subject, text: body, id: Number.NaN };
}
