//! The help dialog: keys, levels, what the latency figure means.

import type { Level } from "../wire/frame";
import { attrs, el } from "./dom";
import type { Key, Words } from "./i18n";
import { LevelBadge } from "./levels";

const KEYS: readonly (readonly [keys: readonly string[], text: Key])[] = [
  [["1", "…", "9"], "helpBoards"],
  [["←", "→"], "helpNeighbour"],
  [["Space", "p"], "helpPause"],
  [["t"], "helpTheme"],
  [["l"], "helpLanguage"],
  [["←", "→", "Esc"], "helpChart"],
  [["?"], "helpHelp"],
];

export class HelpView {
  readonly element = el("dialog", "help");

  constructor(private readonly words: Words) {
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close();
    });
  }

  open(): void {
    const { words } = this;
    const title = attrs(el("h2", "help-title", words.say("helpTitle")), { id: "help-title" });
    const close = attrs(el("button", "tool", words.say("close")), { type: "button" });
    close.addEventListener("click", () => this.element.close());
    const keys = KEYS.map(([names, text]) =>
      el("div", "help-row", el("dt", "", ...names.map((name) => (name === "…" ? el("span", "", "…") : el("kbd", "", name)))), el("dd", "", words.say(text))),
    );
    const levels = ([1, 2, 3, 4, 0] as const).map((level: Level) => {
      const badge = new LevelBadge(words);
      badge.set(level);
      return el("li", "", badge.element);
    });
    this.element.replaceChildren(
      el("div", "help-head", title, close),
      el("dl", "help-keys", ...keys),
      el("h3", "help-sub", words.say("helpLevels")),
      el("ul", "help-levels", ...levels),
      el("p", "help-note", words.say("helpLatency")),
    );
    attrs(this.element, { "aria-labelledby": "help-title" });
    if (!this.element.open) this.element.showModal();
  }
}
