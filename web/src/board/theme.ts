//! Light or dark: what the viewer chose, else what the board says, else what the system prefers. Colours live in
//! the style sheet; the canvas gets them from here, resolved.

import type { Palette } from "../chart/palette";
import type { ThemeName } from "../wire/layout";

const STORED = "lantern.theme";
const SERIES = 8;
const HEAT = 8;

export class Theme {
  chosen: ThemeName;
  palette: Palette;
  levels: readonly string[] = [];
  private board: ThemeName = "auto";

  constructor(private readonly root: HTMLElement, private readonly storage: Storage | undefined, private readonly onChange: () => void) {
    const stored = storage?.getItem(STORED);
    this.chosen = stored === "light" || stored === "dark" ? stored : "auto";
    this.palette = { series: [], heat: [], grid: "", text: "", cursor: "", surface: "", font: "", fontSize: 11 };
    this.apply();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.apply());
  }

  /** System, light, dark, system … */
  next(): void {
    this.chosen = this.chosen === "auto" ? "light" : this.chosen === "light" ? "dark" : "auto";
    this.storage?.setItem(STORED, this.chosen);
    this.apply();
  }

  setBoard(theme: ThemeName): void {
    this.board = theme;
    this.apply();
  }

  /** Colours and sizes anew: the theme, the window or the fonts changed. */
  apply(): void {
    const theme = this.chosen === "auto" ? this.board : this.chosen;
    if (theme === "auto") delete this.root.dataset["theme"];
    else this.root.dataset["theme"] = theme;
    // Custom properties are handed out unresolved, so each colour is asked for through an element that uses it.
    const probe = document.createElement("i");
    probe.className = "probe";
    this.root.append(probe);
    const style = getComputedStyle(probe);
    const colour = (name: string): string => {
      probe.style.color = `var(--${name})`;
      return style.color;
    };
    this.palette = {
      series: Array.from({ length: SERIES }, (_, i) => colour(`series-${i + 1}`)),
      heat: Array.from({ length: HEAT }, (_, i) => colour(`heat-${i + 1}`)),
      grid: colour("grid"),
      text: colour("ink-3"),
      cursor: colour("ink-2"),
      surface: colour("surface"),
      font: style.fontFamily,
      fontSize: Number.parseFloat(style.fontSize) || 11,
    };
    this.levels = ["none", "healthy", "info", "warning", "critical"].map((level) => colour(`level-${level}`));
    probe.remove();
    this.onChange();
  }
}
