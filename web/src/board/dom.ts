//! Elements without markup strings: nothing from outside is ever parsed as HTML.

type Child = Node | string | undefined;

/** An element with a class and children. */
export function el<K extends keyof HTMLElementTagNameMap>(tag: K, className = "", ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  for (const child of children) if (child !== undefined) element.append(child);
  return element;
}

/** Sets attributes; `undefined` removes. */
export function attrs<E extends Element>(element: E, values: Readonly<Record<string, string | number | undefined>>): E {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) element.removeAttribute(name);
    else if (element.getAttribute(name) !== `${value}`) element.setAttribute(name, `${value}`);
  }
  return element;
}

/** Text that is written to the page only when it changes. */
export function setText(node: Node, text: string): void {
  const first = node.firstChild;
  if (first === null) node.textContent = text;
  else if (first.nodeValue !== text) first.nodeValue = text;
}

/** Hides or shows; touches the page only when that changes. */
export function setHidden(element: HTMLElement, hidden: boolean): void {
  if (element.hidden !== hidden) element.hidden = hidden;
}

const SVG = "http://www.w3.org/2000/svg";

/** An icon from path data, on a 16 × 16 grid. */
export function icon(className: string, ...paths: readonly (readonly [d: string, className?: string])[]): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  for (const [d, name] of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    if (name !== undefined) path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}
