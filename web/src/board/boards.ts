//! The list of boards, from the resource API. A failed question leaves the list as it was.

import { localText, type LocalText } from "../wire/layout";

export interface BoardInfo { readonly name: string; readonly title: LocalText }

/** The board shown when the address names none. */
export const FIRST_BOARD = "this-machine";
/** How often the list is asked for again. */
export const LIST_MS = 15_000;

export async function fetchBoards(): Promise<readonly BoardInfo[] | undefined> {
  try {
    const answer = await fetch("/apis/lantern/v1/boards", { headers: { accept: "application/json" } });
    return answer.ok ? readBoards(await answer.json()) : undefined;
  } catch {
    return undefined;
  }
}

export function readBoards(json: unknown): readonly BoardInfo[] {
  const items = (json as { items?: unknown } | null)?.items;
  if (!Array.isArray(items)) return [];
  return items.flatMap((item: { metadata?: { name?: unknown }; spec?: { title?: unknown } } | null) => {
    const name = item?.metadata?.name;
    if (typeof name !== "string") return [];
    const title = localText(item?.spec?.title);
    return [{ name, title: title.en === "" ? { en: name, zh: name } : title }];
  });
}

/** The board an address names: `/boards/orders` is `orders`, `/` is none. */
export function boardOf(path: string): string | undefined {
  const match = /^\/boards\/([^/]+)\/?$/.exec(path);
  try {
    return match?.[1] === undefined ? undefined : decodeURIComponent(match[1]);
  } catch {
    return undefined;
  }
}

/** The named board, else this machine's, else the first. */
export function chooseBoard(named: string | undefined, boards: readonly BoardInfo[]): string | undefined {
  return named ?? (boards.find((board) => board.name === FIRST_BOARD) ?? boards[0])?.name;
}
