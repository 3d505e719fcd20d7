//! The footer: what this page measures of itself, once a second.

import type { LinkStatus } from "../feed/messages";
import { formatValue, NO_VALUE } from "../units/format";
import { attrs, el, setText } from "./dom";
import type { Key, Words } from "./i18n";
import type { Latency } from "./meters";

export interface Measures {
  readonly status: LinkStatus | undefined;
  readonly latency: Latency;
  readonly fps: number;
  readonly dropped: number;
  readonly conflated: number;
  readonly ageMs: number;
  readonly inconsistencies: number;
}

const LINK: Record<LinkStatus["state"], Key> = {
  connecting: "linkConnecting",
  live: "linkLive",
  resuming: "linkResuming",
  reconnecting: "linkReconnecting",
  gone: "linkGone",
};

class Figure {
  readonly element: HTMLElement;
  private readonly text = el("span", "island");
  private readonly value = el("dd", "figure-value", this.text);
  private readonly label = el("dt", "figure-label");

  constructor(name: string, private readonly key: Key, private readonly tail = "") {
    this.element = attrs(el("div", "figure", this.label, this.value), { "data-figure": name });
  }
  relabel(words: Words): void {
    setText(this.label, `${words.say(this.key)}${this.tail}`);
  }
  set(text: string, bad = false): void {
    setText(this.text, text);
    this.value.classList.toggle("is-bad", bad);
  }
}

export class FooterView {
  readonly element = el("footer", "foot");
  private readonly link = el("span", "link");
  private readonly linkWord = el("span", "");
  private readonly p50 = new Figure("p50", "eventToPixel", " p50");
  private readonly p99 = new Figure("p99", "eventToPixel", " p99");
  private readonly fps = new Figure("fps", "fps");
  private readonly dropped = new Figure("dropped", "dropped");
  private readonly conflated = new Figure("conflated", "conflated");
  private readonly age = new Figure("age", "age");
  private readonly server = el("span", "server");
  private readonly list: HTMLElement;

  constructor(private readonly words: Words) {
    this.link.append(attrs(el("span", "link-dot"), { "aria-hidden": "true" }), this.linkWord);
    this.list = el("dl", "figures", ...this.all().map((figure) => figure.element));
    this.element.append(this.link, this.list, this.server);
    this.relabel();
  }

  relabel(): void {
    attrs(this.element, { "aria-label": this.words.say("footer") });
    for (const figure of this.all()) figure.relabel(this.words);
  }

  show({ status, latency, fps, dropped, conflated, ageMs, inconsistencies }: Measures): void {
    const state = status?.state ?? "connecting";
    attrs(this.link, { "data-link": state });
    setText(this.linkWord, this.words.say(LINK[state]));
    this.p50.set(milliseconds(latency.p50));
    this.p99.set(milliseconds(latency.p99));
    this.fps.set(Number.isFinite(fps) ? fps.toFixed(0) : NO_VALUE);
    this.dropped.set(`${dropped}`);
    this.conflated.set(`${conflated}`);
    this.age.set(milliseconds(ageMs), ageMs > 5_000);
    const bad = inconsistencies > 0 ? ` · ${this.words.say("inconsistent")} ${inconsistencies}` : "";
    setText(this.server, `${status?.server ?? ""}${bad}`);
  }

  private all(): readonly Figure[] {
    return [this.p50, this.p99, this.fps, this.dropped, this.conflated, this.age];
  }
}

function milliseconds(ms: number): string {
  if (!Number.isFinite(ms)) return NO_VALUE;
  if (ms < 1_000) return `${ms.toFixed(ms < 99.95 ? 1 : 0)}\u00A0ms`;
  const { number, suffix } = formatValue(ms / 1_000, "seconds");
  return `${number}\u00A0${suffix}`;
}
