//! Values as people read them: a number of about three figures and a short suffix, so that a value keeps
//! its width while it moves. Symbols are international; both languages of the page share them.
//! Never throws: what is not a finite number is a dash.

/** The units a board file may name; `currency` may carry a code (`currency:CNY`), euro otherwise. */
export type Unit =
  | "percent"
  | "bytes"
  | "bytes_per_second"
  | "seconds"
  | "short"
  | "per_second"
  | "currency"
  | `currency:${string}`;

/** A value in parts, so that the page can set the number large and the rest small. */
export interface Formatted {
  readonly prefix: string;
  readonly number: string;
  readonly suffix: string;
}

/** Shown where there is no data. */
export const NO_VALUE = "–";

const IEC = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;
const SI = ["", "k", "M", "G", "T", "P", "E"] as const;
const CURRENCIES: Readonly<Record<string, string>> = { EUR: "€", USD: "$", GBP: "£", CNY: "¥", JPY: "¥" };

/** `value` in `unit`, in parts. */
export function formatValue(value: number, unit: Unit): Formatted {
  if (!Number.isFinite(value)) return { prefix: "", number: NO_VALUE, suffix: "" };
  switch (unit) {
    case "percent":
      return part(Math.abs(value) < 99.95 ? value.toFixed(1) : value.toFixed(0), "%");
    case "bytes":
      return scaled(value, 1024, IEC, "");
    case "bytes_per_second":
      return scaled(value, 1024, IEC, "/s");
    case "seconds":
      return seconds(value);
    case "per_second":
      return short(value, "/s");
    case "short":
      return short(value, "");
    default:
      return currency(value, unit);
  }
}

/** `value` in `unit` as one string, for tables, legends and labels. */
export function formatText(value: number, unit: Unit): string {
  const { prefix, number, suffix } = formatValue(value, unit);
  if (suffix === "" || number === NO_VALUE) return prefix + number;
  return `${prefix}${number}\u00A0${suffix}`;
}

/** A tick of an axis whose ticks are `step` apart: no more decimals than the step needs. */
export function formatTick(value: number, step: number, unit: Unit): string {
  if (unit === "percent") return `${trimmed(value, step)}%`;
  if (unit === "bytes" || unit === "bytes_per_second") {
    const power = powerOf(Math.max(Math.abs(value), step), 1024, IEC.length);
    const size = 1024 ** power;
    return value === 0 ? "0" : `${trimmed(value / size, step / size)}\u00A0${IEC[power] ?? ""}`;
  }
  if (unit === "seconds") {
    if (value === 0) return "0";
    const { factor, suffix } = secondsScale(Math.max(Math.abs(value), step));
    return `${trimmed(value * factor, step * factor)}\u00A0${suffix}`;
  }
  if (value === 0) return "0";
  const power = powerOf(Math.max(Math.abs(value), step), 1000, SI.length);
  const size = 1000 ** power;
  return `${trimmed(value / size, step / size)}${SI[power] ?? ""}`;
}

/** Hours, minutes and seconds of the viewer's time zone. */
export function formatClock(ms: number, withSeconds = true): string {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return NO_VALUE;
  const text = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return withSeconds ? `${text}:${two(date.getSeconds())}` : text;
}

/** A span as the two largest of days, hours, minutes and seconds: `3 m 20 s`. */
export function formatSpan(ms: number): string {
  if (!Number.isFinite(ms)) return NO_VALUE;
  const total = Math.max(0, Math.floor(ms / 1000));
  if (total < 60) return `${total}\u00A0s`;
  if (total < 3600) return `${Math.floor(total / 60)}\u00A0m ${two(total % 60)}\u00A0s`;
  if (total < 86_400) return `${Math.floor(total / 3600)}\u00A0h ${two(Math.floor((total % 3600) / 60))}\u00A0m`;
  return `${Math.floor(total / 86_400)}\u00A0d ${Math.floor((total % 86_400) / 3600)}\u00A0h`;
}

/** The length of a window in its largest whole unit: `5 min`, `90 s`, `6 h`. */
export function formatWindow(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds % 3600 === 0) return `${seconds / 3600}\u00A0h`;
  return seconds % 60 === 0 ? `${seconds / 60}\u00A0min` : `${seconds}\u00A0s`;
}

function part(number: string, suffix: string, prefix = ""): Formatted {
  return { prefix, number: number.replace("-", "−"), suffix };
}

function two(value: number): string {
  return value < 10 ? `0${value}` : `${value}`;
}

/** Three figures: 1.23, 12.3, 123. Rounds first, so that 9.996 is 10.0. */
function threeFigures(value: number): string {
  const size = Math.abs(value);
  if (size < 9.995) return value.toFixed(2);
  if (size < 99.95) return value.toFixed(1);
  return value.toFixed(0);
}

function powerOf(size: number, base: number, powers: number): number {
  let power = 0;
  let rest = size;
  while (rest >= base * 0.9995 && power < powers - 1) {
    rest /= base;
    power += 1;
  }
  return power;
}

function scaled(value: number, base: number, names: readonly string[], per: string): Formatted {
  const power = powerOf(Math.abs(value), base, names.length);
  const shown = value / base ** power;
  const number = power === 0 ? shown.toFixed(0) : threeFigures(shown);
  return part(number, `${names[power] ?? ""}${per}`);
}

function short(value: number, per: string): Formatted {
  const size = Math.abs(value);
  if (size < 99_999.5) {
    const whole = Number.isInteger(value) || size >= 999.5;
    return part(whole ? grouped(value.toFixed(0)) : threeFigures(value), per);
  }
  const power = powerOf(size, 1000, SI.length);
  return part(threeFigures(value / 1000 ** power), `${SI[power] ?? ""}${per}`);
}

function currency(value: number, unit: string): Formatted {
  const code = unit.split(":")[1] ?? "EUR";
  const symbol = `${CURRENCIES[code] ?? code}\u00A0`;
  const size = Math.abs(value);
  if (size < 9_999.995) return part(grouped(value.toFixed(2)), "", symbol);
  if (size < 999_999.5) return part(grouped(value.toFixed(0)), "", symbol);
  const power = powerOf(size, 1000, SI.length);
  return part(threeFigures(value / 1000 ** power), SI[power] ?? "", symbol);
}

function secondsScale(size: number): { factor: number; suffix: string } {
  if (size < 0.9995e-6) return { factor: 1e9, suffix: "ns" };
  if (size < 0.9995e-3) return { factor: 1e6, suffix: "µs" };
  if (size < 0.9995) return { factor: 1e3, suffix: "ms" };
  if (size < 120) return { factor: 1, suffix: "s" };
  if (size < 7_200) return { factor: 1 / 60, suffix: "min" };
  if (size < 172_800) return { factor: 1 / 3_600, suffix: "h" };
  return { factor: 1 / 86_400, suffix: "d" };
}

function seconds(value: number): Formatted {
  if (value === 0) return part("0", "s");
  const { factor, suffix } = secondsScale(Math.abs(value));
  return part(threeFigures(value * factor), suffix);
}

function grouped(digits: string): string {
  const [whole = "", fraction] = digits.split(".");
  const text = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? text : `${text}.${fraction}`;
}

function trimmed(value: number, step: number): string {
  let decimals = 0;
  let rest = Math.abs(step);
  while (decimals < 6 && Math.abs(rest - Math.round(rest)) > 1e-6 * rest) {
    rest *= 10;
    decimals += 1;
  }
  const text = value.toFixed(decimals);
  return (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace("-", "−");
}
