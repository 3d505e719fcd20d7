//! The page: one feed, one paint scheduler, one board at a time, and what frames them.
//!
//! Invariants: data flows one way (feed → state → marked parts → one paint); what is shown stays until the next
//! board's or the next generation's layout has come; every second the footer is rewritten and the
//! server is told how the page fares.

import { Painter, textMeasure } from "../chart/painter";
import { FeedClient } from "../feed/client";
import { dataAge } from "../feed/machine";
import type { LinkStatus, Update } from "../feed/messages";
import { monoNow, type MonoMs } from "../units/brand";
import type { Board } from "../wire/layout";
import { Announcer } from "./announce";
import { BannerView } from "./banner";
import { boardOf, chooseBoard, fetchBoards, LIST_MS, type BoardInfo } from "./boards";
import type { Context, Paced, Touched } from "./context";
import { attrs, el, setText } from "./dom";
import { FooterView } from "./footer";
import { HeaderView } from "./header";
import { HelpView } from "./help";
import { Words } from "./i18n";
import { installKeys } from "./keys";
import { BoardView } from "./lanes";
import { FrameMeter, Histogram, LatencyMeter } from "./meters";
import { exposeProbe } from "./probe";
import { browserFrames, PaintScheduler } from "./scheduler";
import { Theme } from "./theme";
import { CriticalWatch } from "./watch";

const SECOND_MS = 1_000;
/** Updates between two paints whose latency is measured: far more than a display shows apart. */
const STAMPS_MAX = 256;

export class App {
  private readonly words = Words.load(storage(), navigator.languages);
  private readonly announcer = new Announcer();
  /** Of what is painted with the next frame, and of what keeps a pace. */
  private readonly latency = new LatencyMeter();
  private readonly following: Readonly<Record<Paced, Histogram>> = { chart: new Histogram(), trend: new Histogram(), ticker: new Histogram() };
  private readonly frames = new FrameMeter();
  private readonly scheduler: PaintScheduler;
  private readonly theme: Theme;
  private readonly feed: FeedClient;
  private readonly context: Context;
  private readonly header: HeaderView;
  private readonly footer: FooterView;
  private readonly banner: BannerView;
  private readonly help: HelpView;
  private readonly skip = attrs(el("a", "skip"), { href: "#board" });
  private readonly title = el("h1", "sr");
  private readonly main = attrs(el("main", "main", this.title), { id: "board", tabindex: -1 });
  private readonly live = attrs(el("div", "sr"), { "aria-live": "polite", role: "status" });
  private readonly sizes = new Map<Element, (width: number, height: number) => void>();
  private readonly observer = new ResizeObserver((entries) => this.resized(entries));
  private boards: readonly BoardInfo[] = [];
  private listed = false;
  private name: string | undefined;
  private layout: Board | undefined;
  private layoutKey = "";
  private view: BoardView | undefined;
  private watch: CriticalWatch | undefined;
  private status: LinkStatus | undefined;
  private standing: number | undefined;
  /** Of each update since the last paint that the next one shows, its oldest event; of parts with a pace, theirs. */
  private stamps: number[] = [];
  private followed: { readonly kind: Paced; readonly oldest: number }[] = [];
  /** When the page was last shown or hidden, on the server's clock. */
  private shownSince = 0;
  private conflated = 0;
  private unpainted = 0;
  private second = 0;

  constructor(root: HTMLElement, workers: { readonly feed: Worker; readonly painter: Worker }) {
    this.scheduler = new PaintScheduler(browserFrames(), {
      onFrame: (timestamp) => this.frame(timestamp),
      afterPaint: () => this.painted(),
      onFailure: (part, error) => console.error(`paint of ${part} failed`, error),
    });
    this.theme = new Theme(document.documentElement, storage(), () => this.restyle());
    this.feed = new FeedClient(workers.feed, {
      onLayout: (board, generation) => this.show(board, generation),
      onUpdate: (update) => this.update(update),
      onStatus: (status) => this.link(status),
    });
    this.context = {
      state: this.feed.state,
      words: this.words,
      theme: this.theme,
      scheduler: this.scheduler,
      painter: new Painter(workers.painter, (reason) => this.scheduler.fail("chart", reason)),
      measure: textMeasure(),
      announcer: this.announcer,
      now: () => this.now(),
      followed: (kind, oldest) => {
        if (oldest === undefined) return;
        if (kind === "chart") this.settle([oldest], (ms) => this.following.chart.add(ms));
        else if (this.followed.length < STAMPS_MAX) this.followed.push({ kind, oldest });
      },
      reducedMotion: () => matchMedia("(prefers-reduced-motion: reduce)").matches,
      onResize: (element, callback) => {
        this.sizes.set(element, callback);
        this.observer.observe(element);
      },
    };
    this.header = new HeaderView(this.words, this.theme, { open: (name) => this.open(name, true), language: () => this.toggleLanguage(), theme: () => this.nextTheme(), help: () => this.help.open() });
    this.footer = new FooterView(this.words);
    this.banner = new BannerView(this.words, () => this.feed.retry());
    this.help = new HelpView(this.words);
    root.append(this.skip, this.header.element, this.banner.element, this.main, this.footer.element, this.live, this.help.element);
    this.relabel();
    exposeProbe({ state: this.feed.state, latency: this.latency, following: this.following, frames: this.frames, scheduler: this.scheduler, status: () => this.status, board: () => this.layout });
  }

  start(): void {
    installKeys({
      board: (index) => this.openAt(index),
      neighbour: (step) => this.openAt(this.boards.findIndex((board) => board.name === this.name) + step),
      pause: () => this.view?.marquees.forEach(({ view }) => view.togglePause()),
      theme: () => this.nextTheme(),
      language: () => this.toggleLanguage(),
      help: () => this.help.open(),
    });
    document.addEventListener("visibilitychange", () => this.visibility());
    addEventListener("popstate", () => this.open(chooseBoard(boardOf(location.pathname), this.boards), false));
    addEventListener("resize", () => this.theme.apply());
    addEventListener("online", () => this.feed.retry());
    void document.fonts.ready.then(() => this.theme.apply());
    const named = boardOf(location.pathname);
    if (named !== undefined) this.open(named, false);
    void this.list();
    setInterval(() => void (document.hidden ? undefined : this.list()), LIST_MS);
    if (document.hidden) this.feed.setVisible(false);
    this.scheduler.start();
  }

  private async list(): Promise<void> {
    const boards = await fetchBoards();
    if (boards === undefined) return;
    this.listed = true;
    this.boards = boards;
    this.header.showBoards(boards, this.name);
    // A board that was removed and is there again.
    if (this.status?.state === "gone" && this.missing() === "none" && this.name !== undefined) this.feed.open(this.name);
    if (this.name === undefined) this.open(chooseBoard(undefined, boards), false);
  }

  /** What the list says is not there: nothing, the board shown, or every board. */
  private missing(): "none" | "board" | "all" {
    if (!this.listed) return "none";
    if (this.boards.length === 0) return "all";
    return this.name === undefined || this.boards.some((board) => board.name === this.name) ? "none" : "board";
  }

  private openAt(index: number): void {
    const n = this.boards.length;
    const board = this.boards[((index % n) + n) % n];
    if (board !== undefined) this.open(board.name, true);
  }

  private open(name: string | undefined, push: boolean): void {
    if (name === undefined || name === this.name) return;
    this.name = name;
    if (push) history.pushState(null, "", `/boards/${encodeURIComponent(name)}`);
    this.header.showBoards(this.boards, name);
    this.feed.open(name);
  }

  /** A layout came. The lanes are rebuilt only if something about them changed. */
  private show(board: Board, _generation: number): void {
    const key = JSON.stringify([board, this.words.language]);
    if (key === this.layoutKey) return;
    const sameBoard = this.layout?.name === board.name;
    this.layoutKey = key;
    this.layout = board;
    this.theme.setBoard(board.theme);
    this.rebuild(board, sameBoard);
    if (this.listed) void this.list();
  }

  private rebuild(board: Board, sameBoard: boolean): void {
    const before = this.view;
    this.observer.disconnect();
    this.sizes.clear();
    before?.remove();
    this.view = new BoardView(board, this.context, sameBoard ? before : undefined);
    this.watch = new CriticalWatch(board, this.words);
    this.main.append(this.view.element);
    setText(this.title, this.words.local(board.title));
    document.title = `${this.words.local(board.title)} · ${this.words.say("brand")}`;
    this.view.update({ full: true, stamp: 0, cells: new Set(), lanes: new Set(), charts: new Set() });
    // A new board is seen whole at once, not part after part.
    this.scheduler.markAll();
  }

  private update(update: Update): void {
    this.conflated += this.unpainted;
    this.unpainted = 1;
    const prompt = this.scheduler.prompt;
    this.view?.update(touchedBy(update));
    if (this.scheduler.prompt > prompt && update.stamp > 0 && this.stamps.length < STAMPS_MAX) this.stamps.push(update.stamp);
    if (update.full || update.cells.length > 0 || update.alerts.length > 0 || update.clears.length > 0) this.watch?.look(this.feed.state, this.announcer);
  }

  private link(status: LinkStatus): void {
    const before = this.status?.state;
    this.status = status;
    if (status.state === "live") {
      this.standing = undefined;
      if (before === "resuming" && this.banner.element.hidden === false) this.announcer.add(this.words.say("connected"));
    } else if (this.standing === undefined && this.feed.state.sent > 0) {
      this.standing = this.feed.state.sent;
    }
    if (status.state === "gone" && before !== "gone") void this.list();
    if (status.state === "reconnecting" || status.state === "gone") this.banner.show(status, this.missing(), monoNow());
  }

  private now(): number {
    return this.standing ?? (this.status?.offset === undefined ? Date.now() : monoNow() + this.status.offset);
  }

  private frame(timestamp: number): void {
    this.frames.frame(timestamp);
    this.view?.frame(timestamp);
    if (timestamp - this.second < SECOND_MS) return;
    this.second = timestamp;
    this.everySecond(monoNow());
  }

  private everySecond(now: MonoMs): void {
    const { status, feed, frames } = this;
    const latency = this.latency.summary(now);
    const offset = status?.offset;
    const conflated = this.conflated + (status?.conflated ?? 0);
    const ageMs = offset === undefined || feed.state.sent === 0 ? Number.NaN : dataAge(feed.state.sent, now, offset);
    this.footer.show({ status, latency, fps: frames.fps, dropped: frames.dropped, conflated, ageMs, inconsistencies: feed.state.inconsistencies });
    const cut = this.banner.show(status, this.missing(), now);
    document.documentElement.classList.toggle("is-cut", cut);
    this.header.showTime(offset === undefined ? Date.now() : now + offset);
    const said = this.announcer.next(now);
    if (said !== undefined) setText(this.live, said);
    const p = (ms: number): number => (Number.isFinite(ms) ? Math.round(ms * 100) / 100 : 0);
    const measured = latency.n > 0 ? { event_to_pixel_ms: { p50: p(latency.p50), p99: p(latency.p99) } } : {};
    feed.report({ ...measured, fps: p(frames.fps), dropped: frames.dropped });
  }

  /** In the task after a painted frame: the oldest event of each update it shows has become pixels. */
  private painted(): void {
    const { stamps, followed } = this;
    this.stamps = [];
    this.followed = [];
    this.unpainted = 0;
    this.settle(stamps, (ms, now) => this.latency.record(ms, now));
    for (const { kind, oldest } of followed) this.settle([oldest], (ms) => this.following[kind].add(ms));
  }

  /** What stands on the screen by now. Events from before the page was last shown waited for the reader, not for us. */
  private settle(stamps: readonly number[], record: (ms: number, now: MonoMs) => void): void {
    const offset = this.status?.offset;
    if (offset === undefined) return;
    const now = monoNow();
    for (const stamp of stamps) if (stamp >= this.shownSince) record(Math.max(0, now + offset - stamp), now);
  }

  private visibility(): void {
    const visible = !document.hidden;
    this.frames.pause();
    this.shownSince = this.now();
    this.feed.setVisible(visible);
    if (visible) this.scheduler.start();
    else this.scheduler.pause();
  }

  private resized(entries: readonly ResizeObserverEntry[]): void {
    for (const { target, contentRect } of entries) this.sizes.get(target)?.(contentRect.width, contentRect.height);
  }

  private restyle(): void {
    this.view?.restyle();
    this.scheduler.markAll();
  }

  private nextTheme(): void {
    this.theme.next();
    this.header.showTheme();
  }

  private toggleLanguage(): void {
    this.words.toggle(storage());
    this.relabel();
    if (this.layout !== undefined) {
      this.layoutKey = "";
      this.layoutKey = JSON.stringify([this.layout, this.words.language]);
      this.rebuild(this.layout, true);
    }
  }

  private relabel(): void {
    document.documentElement.lang = this.words.language === "zh" ? "zh-CN" : "en";
    setText(this.skip, this.words.say("skip"));
    this.header.relabel();
    this.header.showBoards(this.boards, this.name);
    this.footer.relabel();
    this.theme.apply();
  }
}

function touchedBy(update: Update): Touched {
  const cells = new Set<number>(update.cells);
  for (const cell of update.points.cells) cells.add(cell);
  for (const cell of update.clears) cells.add(cell);
  for (const [cell] of [...update.texts, ...update.rows, ...update.alerts]) cells.add(cell);
  return { full: update.full, stamp: update.stamp, cells, lanes: new Set(update.lanes.map(({ lane }) => lane)), charts: new Set(update.series.map(([chart]) => chart)) };
}

/** Storage may be forbidden; then nothing is remembered. */
function storage(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}
