//! What deserves a word aloud: a cell that turned critical, an alert that fires or is over. Looks only at
//! changes, and not at the first state, which the reader will meet anyway.

import type { BoardState } from "../feed/state";
import type { Board } from "../wire/layout";
import { readAlerts } from "./alerts";
import type { Announcer } from "./announce";
import type { Words } from "./i18n";

/** Names said in one sentence. */
const NAMES_MAX = 3;

export class CriticalWatch {
  private readonly names = new Map<number, string>();
  private readonly alertCells: readonly number[];
  private critical: Set<number> | undefined;
  private firing: Map<number, string> | undefined;

  constructor(board: Board, private readonly words: Words) {
    for (const lane of board.lanes) {
      const shown = lane.kind === "marquee" ? lane.items : lane.kind === "stats" ? lane.stats : [];
      for (const { cell, label } of shown) this.names.set(cell, words.local(label));
    }
    this.alertCells = board.lanes.flatMap((lane) => (lane.kind === "alerts" ? [lane.cell as number] : []));
  }

  look(state: BoardState, announcer: Announcer): void {
    const critical = new Set([...this.names.keys()].filter((cell) => state.cells.get(cell)?.level === 4));
    const firing = new Map<number, string>();
    for (const cell of this.alertCells) {
      for (const alert of readAlerts(state.alerts.get(cell) ?? [])) if (alert.state === "firing") firing.set(alert.id, alert.name);
    }
    if (this.critical !== undefined && this.firing !== undefined) {
      const { critical: before, firing: fired } = this;
      this.say(announcer, "critical", [...critical].filter((cell) => !before.has(cell)).map((cell) => this.names.get(cell) ?? ""));
      this.say(announcer, "alertFiring", [...firing].filter(([id]) => !fired.has(id)).map(([, name]) => name));
      this.say(announcer, "alertResolved", [...fired].filter(([id]) => !firing.has(id)).map(([, name]) => name));
    }
    this.critical = critical;
    this.firing = firing;
  }

  private say(announcer: Announcer, key: "critical" | "alertFiring" | "alertResolved", names: readonly string[]): void {
    if (names.length === 0) return;
    const more = names.length > NAMES_MAX ? ` ${this.words.say("more", { n: names.length - NAMES_MAX })}` : "";
    announcer.add(this.words.say(key, { names: names.slice(0, NAMES_MAX).join(", ") }) + more);
  }
}
