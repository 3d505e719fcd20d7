//! Keys of the whole page. Letters and digits count only without modifiers and outside of fields and dialogs.

export interface Keys {
  readonly board: (index: number) => void;
  readonly neighbour: (step: number) => void;
  readonly pause: () => void;
  readonly theme: () => void;
  readonly language: () => void;
  readonly help: () => void;
}

export function installKeys(keys: Keys): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : undefined;
    if (target?.closest("dialog, input, select, textarea, [contenteditable]")) return;
    if (run(keys, event.key, target)) event.preventDefault();
  });
}

function run(keys: Keys, key: string, target: Element | undefined): boolean {
  if (/^[1-9]$/.test(key)) {
    keys.board(Number(key) - 1);
    return true;
  }
  const action = {
    ArrowLeft: () => keys.neighbour(-1),
    ArrowRight: () => keys.neighbour(1),
    p: keys.pause,
    t: keys.theme,
    l: keys.language,
    "?": keys.help,
  }[key];
  // Space presses a focused button and scrolls a focused list; on the page itself it pauses.
  if (key === " " && (target === undefined || target === document.body || target.id === "board")) {
    keys.pause();
    return true;
  }
  if (action === undefined) return false;
  if (key.startsWith("Arrow") && target?.matches("canvas, .lane-scroll")) return false;
  action();
  return true;
}
