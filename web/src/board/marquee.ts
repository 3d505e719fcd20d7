//! The marquee lane: cards in a strip that turns as the server says. The head's card is lit and shows how long
//! it stays. Motion is the compositor's (Web Animations on transform and opacity), so it runs at the
//! display's rate whatever the rate of data; with reduced motion cards fade in place.
//! Not here: which item is next (the server), where it goes (`marquee-plan`).

import type { LaneHead } from "../feed/messages";
import type { MarqueeItem, MarqueeLane } from "../wire/layout";
import { touches, type Context, type LaneView, type Touched } from "./context";
import { attrs, el, icon, setHidden, setText } from "./dom";
import { LEVEL_NAMES, LevelBadge } from "./levels";
import { firstOrder, keepOrder, planMoves, turn, visibleCount } from "./marquee-plan";
import type { Part } from "./scheduler";
import { TrendView } from "./trend";
import { ValueView } from "./value";

const TURN_MS = 700;
const EASING = "cubic-bezier(0.45, 0, 0.15, 1)";
const LEAST_REM = 13.5;

class Card {
  readonly element = el("li", "card");
  private readonly trend: TrendView;
  private readonly part: Part;
  readonly progress = el("div", "card-progress");
  private readonly badge: LevelBadge;
  private readonly value: ValueView;
  private readonly detail = el("div", "island");

  constructor(readonly item: MarqueeItem, private readonly context: Context) {
    this.badge = new LevelBadge(context.words);
    this.value = new ValueView(item.unit);
    this.trend = new TrendView("card-spark", item.cell, () => this.colour(), context);
    this.element.append(
      el("div", "card-top", el("span", "card-label", context.words.local(item.label)), this.badge.element),
      el("div", "card-middle", el("div", "island", this.value.element, this.trend.element)),
      el("div", "card-detail", this.detail),
      this.progress,
    );
    this.part = context.scheduler.register(`item ${item.cell}`, () => this.paint());
  }

  mark(stamp = 0): void {
    this.part.mark(stamp);
    this.trend.part.mark(stamp);
  }

  remove(): void {
    this.part.remove();
    this.trend.part.remove();
  }

  private colour(): string {
    const { state, theme } = this.context;
    return theme.levels[state.cells.get(this.item.cell)?.level ?? 0] ?? theme.palette.text;
  }

  private paint(): void {
    const cell = this.context.state.cells.get(this.item.cell);
    const level = cell?.level ?? 0;
    this.value.set(cell?.value ?? Number.NaN);
    this.badge.set(level);
    // A number without levels has nothing to say about itself; no number at all is worth a word.
    setHidden(this.badge.element, level === 0 && cell !== undefined && (!Number.isNaN(cell.value) || cell.text !== ""));
    attrs(this.element, { "data-level": LEVEL_NAMES[level] });
    setText(this.detail, cell === undefined ? this.context.words.say("noData") : cell.text);
    // An item without a number is its text, set larger.
    this.element.classList.toggle("is-text", cell !== undefined && Number.isNaN(cell.value) && cell.text !== "");
  }
}

export class MarqueeView implements LaneView {
  readonly element: HTMLElement;
  private readonly strip = el("ul", "strip");
  private readonly pause = el("button", "tool");
  private readonly cards = new Map<number, Card>();
  private readonly motion: Part;
  private order: number[];
  private shownOrder: number[] = [];
  private head: LaneHead | undefined;
  private shownHead: LaneHead | undefined;
  private paused = false;
  private width = 0;
  private gap = 16;
  private least = 240;
  private placed = { visible: 0, width: 0 };

  constructor(private readonly lane: MarqueeLane, private readonly context: Context, heading: HTMLElement, before: readonly number[]) {
    for (const item of lane.items) {
      const card = new Card(item, context);
      this.cards.set(item.id, card);
      this.strip.append(card.element);
    }
    this.order = keepOrder(before, lane.items.map((item) => item.id));
    this.pause.type = "button";
    this.pause.addEventListener("click", () => this.togglePause());
    const header = el("div", "lane-head", heading, this.pause);
    this.element = attrs(el("section", "lane lane-marquee", header, this.strip), { "aria-labelledby": heading.id });
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.target === this.pause) return;
      event.preventDefault();
      this.togglePause();
    });
    attrs(this.strip, { tabindex: 0, "aria-labelledby": heading.id });
    this.motion = context.scheduler.register(`marquee ${lane.id}`, () => this.paintMotion());
    context.onResize(this.strip, (width) => {
      this.width = width;
      this.measure();
      this.motion.mark();
    });
    this.labelPause();
  }

  /** The order shown, for the next version of this lane. */
  get items(): readonly number[] {
    return this.order;
  }

  togglePause(): void {
    this.paused = !this.paused;
    this.labelPause();
    this.motion.mark();
  }

  update(touched: Touched): void {
    for (const card of this.cards.values()) if (touches(touched, [card.item.cell])) card.mark(touched.stamp);
    if (!touched.full && !touched.lanes.has(this.lane.id)) return;
    const head = this.context.state.lanes.get(this.lane.id);
    if (head === undefined) return;
    if (!this.paused) {
      this.order = this.head === undefined && this.shownHead === undefined ? firstOrder(this.order, head.item) : turn(this.order, head.item);
    }
    this.head = head;
    this.motion.mark();
  }

  restyle(): void {
    this.measure();
    for (const card of this.cards.values()) card.mark();
    this.motion.mark();
  }

  remove(): void {
    for (const card of this.cards.values()) card.remove();
    this.motion.remove();
  }

  private labelPause(): void {
    const { words } = this.context;
    attrs(this.pause, { "aria-pressed": `${this.paused}`, "aria-label": words.say(this.paused ? "resumeMarquee" : "pauseMarquee") });
    const glyph = this.paused ? "M4 2.5v11L13 8z" : "M4 2.5h3v11H4zM9 2.5h3v11H9z";
    this.pause.replaceChildren(icon("tool-icon", [glyph]), el("span", "", words.say(this.paused ? "paused" : "pause")));
    this.element.classList.toggle("is-paused", this.paused);
  }

  private measure(): void {
    const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    this.gap = Number.parseFloat(getComputedStyle(this.strip).columnGap) || rem;
    this.least = LEAST_REM * rem;
  }

  private paintMotion(): void {
    if (this.width === 0) return;
    if (this.paused) {
      this.showProgress(undefined);
    } else if (this.head !== undefined && this.order[0] !== this.head.item) {
      this.order = turn(this.order, this.head.item);
    }
    const { width, gap, order } = this;
    const visible = visibleCount(width, this.least, gap, this.lane.visible, order.length);
    const cardWidth = (width - gap * (visible - 1)) / visible;
    const moved = this.placed.visible !== visible || this.placed.width !== width;
    // Where all fit, nothing needs to move: the light goes round instead.
    const still = order.length <= visible;
    const target = still ? keepOrder(this.lane.items.map((item) => item.id), order) : order;
    const turned = target.some((item, i) => item !== this.shownOrder[i]);
    if (moved || turned) {
      this.place(target, visible, cardWidth + gap, cardWidth, !moved && this.shownOrder.length > 0);
      this.placed = { visible, width };
      this.shownOrder = [...target];
    }
    for (const [id, card] of this.cards) card.element.classList.toggle("is-head", id === (this.paused ? this.shownOrder[0] : this.head?.item));
    if (!this.paused && this.head !== this.shownHead) {
      this.shownHead = this.head;
      this.showProgress(this.head);
    }
  }

  private place(target: readonly number[], visible: number, stride: number, cardWidth: number, animate: boolean): void {
    const slide = animate && !this.context.reducedMotion();
    for (const move of planMoves(animate ? this.shownOrder : target, target, visible)) {
      const card = this.cards.get(move.item)?.element;
      if (card === undefined) continue;
      const end = { transform: `translateX(${move.to * stride}px)`, opacity: move.to >= 0 && move.to < visible ? "1" : "0" };
      card.style.width = `${cardWidth}px`;
      card.getAnimations().forEach((animation) => animation.cancel());
      card.style.transform = end.transform;
      card.style.opacity = end.opacity;
      attrs(card, { "data-off": end.opacity === "0" ? "" : undefined });
      if (!animate || (move.from === move.to && move.fade === "none")) continue;
      const start = slide
        ? { transform: `translateX(${move.from * stride}px)`, opacity: move.fade === "in" ? "0" : "1" }
        : { transform: move.fade === "out" ? `translateX(${move.from * stride}px)` : end.transform, opacity: move.fade === "out" ? "1" : "0" };
      const last = slide ? end : { transform: start.transform, opacity: end.opacity };
      card.animate([start, last], { duration: slide ? TURN_MS : TURN_MS / 2, easing: EASING });
    }
  }

  /** A line under the head's card that is full when its time is over. */
  private showProgress(head: LaneHead | undefined): void {
    for (const card of this.cards.values()) card.progress.getAnimations().forEach((animation) => animation.cancel());
    const card = head && this.cards.get(head.item);
    if (head === undefined || card === undefined || this.context.reducedMotion()) return;
    const duration = head.until - head.since;
    if (!(duration > 0) || duration > 3_600_000) return;
    const animation = card.progress.animate([{ transform: "scaleX(0)" }, { transform: "scaleX(1)" }], { duration, fill: "both" });
    animation.currentTime = Math.max(0, Math.min(duration, this.context.now() - head.since));
  }
}
