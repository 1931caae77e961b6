// The overlay that lists the keys of a page, and the name of a pressed key.
import { fill, h, icon } from "./dom.js";

export function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shifted = event.shiftKey && (event.key.length > 1 || /[a-z]/i.test(event.key));
  return shifted ? `Shift+${event.key.length === 1 ? event.key.toUpperCase() : event.key}` : key;
}

// keys: {title: [[pressed, shown, what it does, action], …]}
export function makeHelp(keys, remark) {
  const overlay = h("dialog", { class: "vs-dialog vs-help", "aria-label": "Keys" });
  const close = h("button", { type: "button", class: "icon", "aria-label": "Close", onclick: () => overlay.close() }, icon("close"));
  fill(overlay, h("header", {}, h("h2", {}, "Keys"), h("span", { class: "vs-dim" }, remark), close),
    h("div", { class: "vs-help-columns" }, Object.entries(keys).map(([title, rows]) => h("section", {}, h("h3", {}, title),
      h("dl", {}, rows.map(([, shown, text]) => [h("dt", {}, h("kbd", {}, shown)), h("dd", {}, text)]))))));
  overlay.addEventListener("click", (event) => { if (event.target === overlay) overlay.close(); });
  document.body.append(overlay);
  return overlay;
}
