// The address bar: ?ep=<id>&step=<n>&span=<uid> is read once and kept up to date, so that a link restores what was seen.
import { debounce } from "./dom.js";
import { on, state } from "./store.js";

export function readLink() {
  const query = new URLSearchParams(location.search);
  const step = Number.parseInt(query.get("step") ?? "", 10);
  return { episode: query.get("ep") || "", span: query.get("span") || "", step: Number.isFinite(step) ? step : null };
}

export function link() {
  const url = new URL(location.href);
  if (!state.view) return url;
  url.searchParams.set("ep", state.view.id);
  url.searchParams.set("step", String(state.step));
  if (state.span) url.searchParams.set("span", state.span);
  else url.searchParams.delete("span");
  return url;
}

// Browsers refuse more than about a hundred replacements in ten seconds.
const write = debounce(150, () => { if (state.view) history.replaceState(history.state, "", link()); });

export function keepLink() {
  for (const topic of ["view", "span", "step"]) on(topic, write);
}
