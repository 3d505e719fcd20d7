//! The bar: brand, board switcher, server time, language, theme, help.

import { formatClock } from "../units/format";
import type { BoardInfo } from "./boards";
import { attrs, el, icon, setText } from "./dom";
import type { Words } from "./i18n";
import type { Theme } from "./theme";

/** The revolving lantern: cap, drum with its turning pictures, foot and tassel. */
const MARK: readonly (readonly [string, string?])[] = [
  ["M5 2.2h6l1.6 1.6H3.4zM3.4 11.6h9.2L11 13.2H5z", "mark-frame"],
  ["M3.2 4.6h9.6v6.2H3.2z", "mark-light"],
  ["M5.4 4.6h1v6.2h-1zM9.6 4.6h1v6.2h-1zM7.5 .6h1v1.2h-1zM7.5 13.6h1v2h-1z", "mark-frame"],
];
const SUN = "M8 4.6a3.4 3.4 0 1 0 0 6.8a3.4 3.4 0 0 0 0-6.8zM7.3 .8h1.4v2H7.3zM7.3 13.2h1.4v2H7.3zM.8 7.3h2v1.4h-2zM13.2 7.3h2v1.4h-2zM2.4 3.4l1-1l1.4 1.4l-1 1zM11.2 12.2l1-1l1.4 1.4l-1 1zM12.6 2.4l1 1l-1.4 1.4l-1-1zM3.8 11.2l1 1l-1.4 1.4l-1-1z";
const MOON = "M13.8 9.9A6.3 6.3 0 0 1 6.1 2.2A6.3 6.3 0 1 0 13.8 9.9z";
const HALF = "M8 1.6a6.4 6.4 0 1 0 0 12.8A6.4 6.4 0 0 0 8 1.6zm0 1.5v9.8a4.9 4.9 0 0 1 0-9.8z";

export class HeaderView {
  readonly element = el("header", "bar");
  private readonly tabs = el("nav", "tabs");
  private readonly time = el("span", "island");
  private readonly clock = el("span", "clock", this.time);
  private readonly brand = el("span", "brand-name");
  private readonly language = el("button", "tool");
  private readonly theme = el("button", "tool tool-square");
  private readonly help = el("button", "tool tool-square");
  private key = "";

  constructor(
    private readonly words: Words,
    private readonly colours: Theme,
    private readonly act: { readonly open: (board: string) => void; readonly language: () => void; readonly theme: () => void; readonly help: () => void },
  ) {
    const tools = el("div", "tools", this.clock, this.language, this.theme, this.help);
    this.element.append(el("div", "brand", icon("mark", ...MARK), this.brand), this.tabs, tools);
    for (const [button, run] of [[this.language, act.language], [this.theme, act.theme], [this.help, act.help]] as const) {
      button.type = "button";
      button.addEventListener("click", run);
    }
    attrs(this.clock, { "aria-hidden": "true" });
    this.relabel();
  }

  relabel(): void {
    const { words } = this;
    setText(this.brand, words.say("brand"));
    attrs(this.tabs, { "aria-label": words.say("boards") });
    setText(this.language, words.say("language"));
    attrs(this.language, { "aria-label": `${words.say("language")}: ${words.say("languageLabel")}`, lang: words.language === "en" ? "zh-CN" : "en", title: words.say("languageLabel") });
    this.help.replaceChildren("?");
    attrs(this.help, { "aria-label": `? ${words.say("help")}`, title: words.say("help") });
    this.key = "";
    this.showTheme();
  }

  showTheme(): void {
    const { chosen } = this.colours;
    const [glyph, key] = chosen === "light" ? ([SUN, "themeLight"] as const) : chosen === "dark" ? ([MOON, "themeDark"] as const) : ([HALF, "themeAuto"] as const);
    const picture = icon("tool-icon", [glyph]);
    picture.firstElementChild?.setAttribute("fill-rule", "evenodd");
    this.theme.replaceChildren(picture);
    attrs(this.theme, { "aria-label": this.words.say(key), title: this.words.say(key) });
  }

  showBoards(boards: readonly BoardInfo[], current: string | undefined): void {
    const key = JSON.stringify([boards, current, this.words.language]);
    if (key === this.key) return;
    this.key = key;
    const focused = this.tabs.contains(document.activeElement);
    const links = boards.map((board, i) => {
      const link = el("a", "tab", el("span", "tab-key", `${i + 1}`), el("span", "tab-name", this.words.local(board.title)));
      attrs(link, { href: `/boards/${encodeURIComponent(board.name)}`, "aria-current": board.name === current ? "page" : undefined });
      attrs(link.firstElementChild as Element, { "aria-hidden": "true" });
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        this.act.open(board.name);
      });
      return link;
    });
    this.tabs.replaceChildren(...links);
    const now = links.find((link) => link.hasAttribute("aria-current"));
    if (focused) now?.focus();
    now?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  showTime(ms: number): void {
    setText(this.time, formatClock(ms));
  }
}
