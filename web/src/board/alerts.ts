//! The alert lane: firing before pending before resolved, the worst first, the newest first among equals.

import type { Row } from "../feed/messages";
import { formatClock, formatSpan } from "../units/format";
import type { AlertsLane } from "../wire/layout";
import { touches, type Context, type LaneView, type Touched } from "./context";
import { attrs, el, icon, setHidden, setText } from "./dom";
import type { Key } from "./i18n";
import { LEVEL_NAMES, LevelBadge } from "./levels";
import type { Part } from "./scheduler";

/** Alerts shown; a count says how many more there are. */
const SHOWN_MAX = 60;

type State = "firing" | "pending" | "resolved";
const RANK: Record<State, number> = { firing: 0, pending: 1, resolved: 2 };

export interface Alert {
  readonly id: number;
  readonly name: string;
  readonly state: State;
  readonly level: Row["level"];
  readonly severity: string;
  readonly summary: string;
  readonly since: number;
  readonly labels: string;
}

/** Rows of the wire as alerts, in the order they are shown. */
export function readAlerts(rows: readonly Row[]): Alert[] {
  const alerts = rows.map((row): Alert => {
    const { name, state, severity, summary, since, labels } = row.text;
    const pairs = typeof labels === "object" && labels !== null ? Object.entries(labels) : [];
    return {
      id: row.id,
      name: text(name),
      state: state === "pending" || state === "resolved" ? state : "firing",
      level: row.level,
      severity: text(severity),
      summary: text(summary),
      since: typeof since === "number" ? since : row.t,
      labels: pairs.filter(([key]) => key !== "alertname" && key !== "severity").map(([key, value]) => `${key}=${text(value)}`).join("  "),
    };
  });
  return alerts.sort((a, b) => RANK[a.state] - RANK[b.state] || b.level - a.level || b.since - a.since || a.id - b.id);
}

const text = (value: unknown): string => (typeof value === "string" ? value : typeof value === "number" ? `${value}` : "");

class AlertCard {
  readonly element = el("li", "alert");
  private readonly name = el("span", "alert-name");
  private readonly state = el("span", "alert-state");
  private readonly age = el("span", "alert-age");
  private readonly summary = el("p", "alert-summary");
  private readonly labels = el("p", "alert-labels");
  private readonly badge: LevelBadge;
  private since = 0;
  private over = false;

  constructor(private readonly context: Context) {
    this.badge = new LevelBadge(context.words, true);
    this.element.append(el("div", "alert-top", this.badge.element, this.name, this.state), this.summary, el("div", "alert-foot", this.labels, this.age));
  }

  set(alert: Alert): void {
    this.since = alert.since;
    this.over = alert.state === "resolved";
    attrs(this.element, { "data-state": alert.state, "data-level": LEVEL_NAMES[alert.level] });
    this.badge.set(this.over ? 1 : alert.level);
    setText(this.name, alert.name);
    setText(this.state, this.context.words.say(alert.state satisfies Key));
    setText(this.summary, alert.summary);
    setText(this.labels, alert.labels);
    attrs(this.labels, { title: alert.labels });
    this.tick();
  }

  tick(): void {
    const { words, now } = this.context;
    setText(this.age, this.over ? formatClock(this.since) : words.say("since", { span: formatSpan(now() - this.since) }));
  }
}

export class AlertsView implements LaneView {
  readonly element: HTMLElement;
  private readonly list = el("ul", "alerts");
  private readonly count = el("span", "count");
  private readonly more = el("p", "lane-note");
  private readonly empty: HTMLElement;
  private readonly cards = new Map<number, AlertCard>();
  private readonly part: Part;
  private readonly ages: Part;
  private ticked = 0;

  constructor(private readonly lane: AlertsLane, private readonly context: Context, heading: HTMLElement) {
    const quiet = icon("quiet-icon", ["M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13zm3.5 4.2l-4.3 5.2l-2.8-2.5l1-1.1l1.7 1.5l3.2-4z"]);
    quiet.firstElementChild?.setAttribute("fill-rule", "evenodd");
    this.empty = el("p", "lane-empty", quiet, context.words.say("noAlerts"));
    const box = attrs(el("div", "lane-scroll", this.empty, this.list, this.more), { tabindex: 0, role: "group", "aria-labelledby": heading.id });
    this.element = attrs(el("section", "lane lane-alerts", el("div", "lane-head", heading, this.count), box), { "aria-labelledby": heading.id });
    this.part = context.scheduler.register(`alerts ${lane.id}`, () => this.paint());
    this.ages = context.scheduler.register(`alerts ${lane.id} ages`, () => this.cards.forEach((card) => card.tick()));
  }

  update(touched: Touched): void {
    if (touches(touched, [this.lane.cell])) this.part.mark();
  }

  frame(timestamp: number): void {
    if (timestamp - this.ticked < 1_000 || this.cards.size === 0) return;
    this.ticked = timestamp;
    this.ages.mark();
  }

  remove(): void {
    this.part.remove();
    this.ages.remove();
  }

  private paint(): void {
    const alerts = readAlerts(this.context.state.alerts.get(this.lane.cell) ?? []);
    const shown = alerts.slice(0, SHOWN_MAX);
    const ids = new Set(shown.map((alert) => alert.id));
    for (const [id, card] of this.cards) {
      if (ids.has(id)) continue;
      card.element.remove();
      this.cards.delete(id);
    }
    shown.forEach((alert, i) => {
      let card = this.cards.get(alert.id);
      if (card === undefined) {
        card = new AlertCard(this.context);
        this.cards.set(alert.id, card);
      }
      card.set(alert);
      if (this.list.children[i] !== card.element) this.list.insertBefore(card.element, this.list.children[i] ?? null);
    });
    const firing = alerts.filter((alert) => alert.state === "firing").length;
    const worst = Math.max(0, ...alerts.filter((alert) => alert.state === "firing").map((alert) => alert.level));
    setText(this.count, firing > 0 ? `${firing}` : "");
    attrs(this.count, { "data-level": LEVEL_NAMES[worst], "aria-label": firing > 0 ? `${firing} ${this.context.words.say("firing")}` : undefined, role: firing > 0 ? "img" : undefined });
    setHidden(this.empty, alerts.length > 0);
    setHidden(this.list, alerts.length === 0);
    const more = alerts.length - shown.length;
    setHidden(this.more, more <= 0);
    setText(this.more, this.context.words.say("more", { n: more }));
  }
}
