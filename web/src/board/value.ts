//! A value set large: number and suffix as separate texts, rewritten only when they change.

import { formatValue, type Unit } from "../units/format";
import { el, setText } from "./dom";

export class ValueView {
  readonly element = el("span", "value");
  private readonly prefix = el("span", "value-unit");
  private readonly number = el("span", "value-number");
  private readonly suffix = el("span", "value-unit");

  constructor(private readonly unit: Unit) {
    this.element.append(this.prefix, this.number, this.suffix);
  }

  set(value: number): void {
    const { prefix, number, suffix } = formatValue(value, this.unit);
    setText(this.prefix, prefix.trim());
    setText(this.number, number);
    setText(this.suffix, suffix);
  }
}
