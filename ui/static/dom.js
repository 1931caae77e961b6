// Building DOM nodes. Text goes in through textContent only, so that no text of an episode can become markup.

// h("button", {class: "x", onclick: fn, title: "…"}, "text", node, …): an element with attributes, listeners and children.
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  set(node, props);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function set(node, props) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (value === false || value === null || value === undefined) node.removeAttribute(name);
    else if (name === "value" || name === "disabled" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  return node;
}

// Replace all children at once.
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  play: "M5 3.5v9l7.5-4.5z", pause: "M4.5 3.5h2.5v9h-2.5zM9 3.5h2.5v9H9z", first: "M4 3.5h1.5v9H4zM12 3.5v9L6 8z",
  last: "M10.5 3.5H12v9h-1.5zM4 3.5v9L10 8z", back: "M10.5 3.5v9L4.5 8z", on: "M5.5 3.5v9l6-4.5z",
  undo: "M6.5 3 2.5 6.5l4 3.5V7.7c3.5-.2 5.2 1 6.5 3.8C13 7.5 10.5 5.3 6.5 5.3z",
  redo: "M9.5 3l4 3.5-4 3.5V7.7C6 7.5 4.3 8.7 3 11.5 3 7.5 5.5 5.3 9.5 5.3z",
  close: "M4.2 3.2 8 7l3.8-3.8 1 1L9 8l3.8 3.8-1 1L8 9l-3.8 3.8-1-1L7 8 3.2 4.2z",
  moon: "M12.8 9.8A5.5 5.5 0 0 1 6.2 3.2a5.5 5.5 0 1 0 6.6 6.6z",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM7.4 1h1.2v2.3H7.4zM7.4 12.7h1.2V15H7.4zM1 7.4h2.3v1.2H1zM12.7 7.4H15v1.2h-2.3zM2.6 3.5l.9-.9 1.6 1.6-.9.9zM10.9 11.8l.9-.9 1.6 1.6-.9.9zM12.5 2.6l.9.9-1.6 1.6-.9-.9zM4.2 10.9l.9.9-1.6 1.6-.9-.9z",
  link: "M6.7 9.3a2.6 2.6 0 0 0 3.7 0l2-2a2.6 2.6 0 0 0-3.7-3.7l-.8.8.8.8.8-.8a1.5 1.5 0 0 1 2.1 2.1l-2 2a1.5 1.5 0 0 1-2.1 0zM9.3 6.7a2.6 2.6 0 0 0-3.7 0l-2 2a2.6 2.6 0 0 0 3.7 3.7l.8-.8-.8-.8-.8.8a1.5 1.5 0 0 1-2.1-2.1l2-2a1.5 1.5 0 0 1 2.1 0z",
  filter: "M2 3.5h12L9.5 8.8v3.7l-3 1.2V8.8z", loop: "M11 2.5 13.5 5 11 7.5V5.7H5A1.8 1.8 0 0 0 3.2 7.5V8H1.8v-.5A3.2 3.2 0 0 1 5 4.3h6zM5 8.5 2.5 11 5 13.5v-1.8h6a3.2 3.2 0 0 0 3.2-3.2V8h-1.4v.5A1.8 1.8 0 0 1 11 10.3H5z",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

// A button that shows its key: button("Accept", "A", fn).
export function button(label, key, onclick, props = {}) {
  const node = h("button", { type: "button", onclick, ...props }, typeof label === "string" ? h("span", {}, label) : label);
  if (key) node.append(h("kbd", {}, key));
  return node;
}

export function when(iso) {
  const date = new Date(iso);
  if (!iso || Number.isNaN(date.getTime())) return "";
  const seconds = (Date.now() - date.getTime()) / 1000;
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return date.toLocaleDateString();
}

// Text with `code` in backticks, as nodes.
export const coded = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

export function debounce(wait, fn) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...args), wait);
  };
}

// A short message in the corner: kind "info", "good" or "bad".
export function notice(text, kind = "info") {
  let area = document.getElementById("vs-notices");
  if (!area) {
    area = h("div", { id: "vs-notices", role: "status", "aria-live": "polite" });
    document.body.append(area);
  }
  const close = () => note.remove();
  const note = h("div", { class: `vs-notice ${kind}` }, h("span", {}, text), h("button", { type: "button", "aria-label": "Close", onclick: close }, icon("close")));
  area.append(note);
  while (area.children.length > 4) area.firstChild.remove();
  setTimeout(close, kind === "bad" ? 9000 : 4000);
}
