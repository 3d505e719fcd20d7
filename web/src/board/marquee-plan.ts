//! Where the items of a marquee stand and how they move when the server turns it. Pure.
//!
//! The server says which item is at the head; the strip shows the head and what follows it. Items are kept in
//! the order in which they were longest not at the head: a natural turn moves everything one place, an item
//! that jumps the queue comes to the front and nobody else changes order.

/** One item's way from the place it had to the place it takes; places outside `[0, visible)` are not shown. */
export interface Move {
  readonly item: number;
  readonly from: number;
  readonly to: number;
  readonly fade: "none" | "in" | "out";
}

/** The order after `head` came to the front. Items unknown to `order` keep the order they are listed in. */
export function turn(order: readonly number[], head: number): number[] {
  const at = order.indexOf(head);
  if (at <= 0) return [...order];
  const [leaving = head, ...waiting] = order;
  return [head, ...waiting.filter((item) => item !== head), leaving];
}

/** The first order: as listed, beginning at the head. */
export function firstOrder(items: readonly number[], head: number | undefined): number[] {
  const at = head === undefined ? -1 : items.indexOf(head);
  return at < 0 ? [...items] : [...items.slice(at), ...items.slice(0, at)];
}

/** Items of a new version of the board, in the old order as far as it goes. */
export function keepOrder(order: readonly number[], items: readonly number[]): number[] {
  const known = order.filter((item) => items.includes(item));
  return [...known, ...items.filter((item) => !known.includes(item))];
}

/** Who moves when `before` becomes `after`. A shown item leaves to the left; a new one enters from the right. */
export function planMoves(before: readonly number[], after: readonly number[], visible: number): Move[] {
  return after.map((item, to) => {
    const from = before.indexOf(item);
    const was = from >= 0 && from < visible;
    const is = to < visible;
    if (was && is) return { item, from, to, fade: "none" };
    if (was) return { item, from, to: -1, fade: "out" };
    if (is) return { item, from: to === 0 ? -1 : visible, to, fade: "in" };
    return { item, from: visible, to: visible, fade: "none" };
  });
}

/** Columns for `items` tiles of at least `least` pixels: as few rows as can be, and these as equal as can be. */
export function balancedColumns(width: number, least: number, gap: number, items: number): number {
  const room = visibleCount(width, least, gap, items, items);
  return Math.ceil(items / Math.max(1, Math.ceil(items / room))) || 1;
}

/** How many cards of at least `least` pixels stand side by side; never more than wanted or than there are. */
export function visibleCount(width: number, least: number, gap: number, wanted: number, items: number): number {
  const room = Math.max(1, Math.floor((width + gap) / (least + gap)));
  return Math.max(1, Math.min(room, Math.max(1, wanted), Math.max(1, items)));
}
