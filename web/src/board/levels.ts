//! Levels as people see them: a colour, a shape of its own and a word, so that none is needed alone.

import type { Level } from "../wire/frame";
import { attrs, icon, setText, el } from "./dom";
import type { Key, Words } from "./i18n";

export const LEVEL_NAMES = ["none", "healthy", "info", "warning", "critical"] as const;

const WORDS: readonly Key[] = ["levelNone", "levelHealthy", "levelInfo", "levelWarning", "levelCritical"];

/** Ring, disc with a tick, diamond, triangle, octagon. */
const SHAPES: readonly string[] = [
  "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11zm0 2a3.5 3.5 0 1 1 0 7a3.5 3.5 0 0 1 0-7z",
  "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13zm3.5 4.2l-4.3 5.2l-2.8-2.5l1-1.1l1.7 1.5l3.2-4z",
  "M8 .8L15.2 8L8 15.2L.8 8zM7.1 4v1.8h1.8V4zm0 3v5h1.8V7z",
  "M8 1.2L15.6 14.6H.4zM7.1 6v4.2h1.8V6zm0 5.2V13h1.8v-1.8z",
  "M5 1h6l4 4v6l-4 4H5l-4-4V5zM7.1 3.8v5h1.8v-5zm0 6.2v2h1.8v-2z",
];

export function levelWord(level: Level, words: Words): string {
  return words.say(WORDS[level] ?? "levelNone");
}

/** A badge that follows a level: shape, and the word beside it or for screen readers only. */
export class LevelBadge {
  readonly element = el("span", "level");
  private readonly word = el("span", "level-word");
  private readonly shape = icon("level-icon", [SHAPES[0] ?? ""]);
  private shown: Level | undefined;

  constructor(private readonly words: Words, compact = false) {
    if (compact) this.word.classList.add("sr");
    this.shape.firstElementChild?.setAttribute("fill-rule", "evenodd");
    this.element.append(this.shape, this.word);
    this.set(0);
  }

  set(level: Level): void {
    setText(this.word, levelWord(level, this.words));
    if (level === this.shown) return;
    this.shown = level;
    attrs(this.element, { "data-level": LEVEL_NAMES[level] });
    this.shape.firstElementChild?.setAttribute("d", SHAPES[level] ?? SHAPES[0] ?? "");
  }
}
