// The left side: what there is to review. Only the rows in sight are in the document, whatever the queue's length.
import { button, debounce, fill, h, icon, plural } from "./dom.js";
import { loadQueue, on, openEpisode, register, reviewer as me, state } from "./store.js";
import { jobBar } from "./jobs.js";
import { importDialog, labelAll } from "./welcome.js";

const ROW = 52; // pixels; the style sheet has the same number
const SPARE = 6; // rows above and below the window
const STATUSES = ["pending", "in_review", "flagged", "accepted", "rejected"];
export const SIGNS = { pending: "○", in_review: "◐", flagged: "⚑", accepted: "✓", rejected: "✕", unannotated: "·" };
const SOURCES = { kinematic: "numbers", gemini: "Gemini", person: "person" };
const ORDERS = { risk: "Riskiest first", newest: "Newest first", instruction: "By instruction", dataset: "By data set" };

export function mountQueue(element, server) {
  const counts = h("div", { class: "vs-counts" }), offer = h("div", { class: "vs-offer", hidden: true });
  const search = h("input", { type: "search", placeholder: "Search instructions", "aria-label": "Search instructions", oninput: debounce(180, () => ask({ search: search.value })) });
  const more = filterPanel();
  const toggle = button(icon("filter"), "", () => { more.element.hidden = !more.element.hidden; toggle.setAttribute("aria-expanded", !more.element.hidden); }, { class: "icon", title: "Filters", "aria-label": "Filters", "aria-expanded": false });
  const inner = h("div", { class: "vs-rows-inner" });
  const list = h("div", { class: "vs-list", tabindex: "0", role: "listbox", "aria-label": "Episodes" }, inner);
  const foot = h("span", {}), importMore = button("Import…", "", importDialog, { class: "small", title: "Import another data set" });
  fill(element, h("div", { class: "vs-queue" }, counts, h("div", { class: "vs-search" }, search, toggle), more.element, jobBar(), offer, list, h("div", { class: "vs-queue-foot" }, foot, importMore)));

  function drawCounts() {
    const all = state.queue.counts;
    if (!all) return;
    const done = (all.accepted || 0) + (all.rejected || 0), share = all.total ? Math.round((100 * done) / all.total) : 0;
    const bar = h("div", { class: "vs-progress", role: "progressbar", "aria-valuenow": share, "aria-valuemin": 0, "aria-valuemax": 100, title: STATUSES.map((name) => `${all[name] || 0} ${name.replace("_", " ")}`).join(", ") },
      ["accepted", "rejected", "flagged"].map((name) => h("i", { class: name, style: `width: ${all.total ? (100 * (all[name] || 0)) / all.total : 0}%` })));
    importMore.hidden = !all.total;
    fill(counts, h("div", {}, h("b", {}, `${all.total - done} to review`), h("span", {}, `${share} % of ${all.total}`)), bar);
    const bare = state.queue.rows.filter((row) => row.head === 0).length;
    if (offer.hidden === Boolean(bare)) fill(offer, bare ? ["Some episodes have no labels yet. ", labelAll()] : null);
    offer.hidden = !bare;
    more.draw();
  }

  function drawRows() {
    const { rows, loading, total, error } = state.queue;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
    const last = Math.min(rows.length, first + Math.ceil((list.clientHeight || 600) / ROW) + 2 * SPARE);
    inner.style.height = `${(rows.length || (loading ? 8 : 0)) * ROW}px`;
    const nodes = rows.slice(first, last).map((row, index) => rowNode(row, first + index));
    if (loading && !rows.length) for (let index = 0; index < 8; index++) nodes.push(skeleton(index));
    fill(inner, nodes);
    fill(foot, error || (rows.length ? `${rows.length} of ${total} shown` : loading ? "" : state.queue.counts?.total ? "No episode matches. " : ""));
    if (!rows.length && !loading && state.queue.counts?.total) foot.append(button("Clear filters", "", clear, { class: "small" }));
    if (last > rows.length - SPARE && state.queue.next && !loading) loadQueue({ more: true });
  }

  function draw() { drawCounts(); drawRows(); }

  function clear() {
    search.value = "";
    ask({ search: "", status: [], source: [], dataset: "", reviewer: "", min_risk: 0 });
  }

  list.addEventListener("scroll", drawRows, { passive: true });
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".vs-item");
    if (row) openEpisode(row.dataset.id);
  });
  list.addEventListener("keydown", (event) => {
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      event.preventDefault();
      event.stopPropagation();
      const rows = state.queue.rows, index = rows.findIndex((row) => row.id === (state.opening || state.view?.id));
      const next = rows[index + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) { openEpisode(next.id); reveal(next.id); }
    }
  });

  function reveal(id) {
    const index = state.queue.rows.findIndex((row) => row.id === id);
    if (index < 0) return;
    if (index * ROW < list.scrollTop) list.scrollTop = index * ROW;
    else if ((index + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (index + 1) * ROW - list.clientHeight;
  }

  on("queue", draw);
  on("opening", () => { drawRows(); reveal(state.opening); });
  on("view", ({ fresh } = {}) => { if (fresh) drawRows(); });
  new ResizeObserver(drawRows).observe(list);
  register(server);
  draw();
}

function ask(changes) {
  Object.assign(state.query, changes);
  state.queue.rows = [];
  loadQueue();
}

function rowNode(row, index) {
  const current = row.id === (state.opening || state.view?.id);
  const status = row.head === 0 ? "unannotated" : row.status;
  const risk = row.risk ?? 0;
  const node = h("div", { class: `vs-item ${current ? "on" : ""}`, dataset: { id: row.id }, role: "option", "aria-selected": current, title: row.instruction },
    h("span", { class: `vs-sign ${status}`, title: status.replace("_", " ") }, SIGNS[status] || "○"),
    h("div", { class: "vs-item-text" }, h("div", {}, row.instruction),
      h("small", {}, [Object.keys(state.queue.datasets || {}).length > 1 && row.dataset, plural(row.steps, "step"), SOURCES[row.source] || row.source || "no labels"].filter(Boolean).join(" · "))),
    h("div", { class: "vs-item-side" },
      risk >= 0.05 && h("div", { class: "vs-risk", title: `Risk ${risk.toFixed(2)}: how likely something is wrong, from the checks` }, h("i", { style: `width: ${Math.round(risk * 100)}%` })),
      row.errors ? h("small", { class: "error" }, `■ ${row.errors}`) : null, row.warnings ? h("small", { class: "warning" }, `▲ ${row.warnings}`) : null,
      row.holder && row.holder !== me() ? h("small", { class: "vs-holder", title: `${row.holder} has it open` }, row.holder) : null));
  node.style.top = `${index * ROW}px`;
  return node;
}

function skeleton(index) {
  const node = h("div", { class: "vs-item vs-skeleton" }, h("i", {}), h("div", { class: "vs-item-text" }, h("i", {}), h("i", {})));
  node.style.top = `${index * ROW}px`;
  return node;
}

function filterPanel() {
  const chip = (key, value, text) => h("button", { type: "button", dataset: { key, value }, "aria-pressed": false, onclick: () => flip(key, value) }, text);
  const statuses = h("div", { class: "vs-chips", "aria-label": "Status" }, STATUSES.map((name) => chip("status", name, `${SIGNS[name]} ${name.replace("_", " ")}`)));
  const sources = h("div", { class: "vs-chips", "aria-label": "Source" }, Object.entries(SOURCES).map(([name, text]) => chip("source", name, text)));
  const choose = (key, names) => h("select", { "aria-label": key, onchange: (event) => ask({ [key]: event.target.value }) }, names);
  const order = choose("order", Object.entries(ORDERS).map(([value, text]) => h("option", { value }, text)));
  const dataset = choose("dataset", [h("option", { value: "" }, "All data sets")]), reviewer = choose("reviewer", [h("option", { value: "" }, "All reviewers")]);
  const risk = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0, "aria-label": "Least risk", oninput: debounce(180, () => ask({ min_risk: Number(risk.value) })) });
  const riskText = h("output", {});
  const element = h("div", { class: "vs-filters", hidden: true }, order, statuses, sources, dataset, reviewer, h("label", {}, "Risk at least ", riskText, risk));

  function flip(key, value) {
    const chosen = state.query[key];
    ask({ [key]: chosen.includes(value) ? chosen.filter((each) => each !== value) : [...chosen, value] });
  }

  function options(select, names, key) {
    const have = [...select.options].slice(1).map((option) => option.value);
    if (have.join("\n") !== names.join("\n")) fill(select, select.options[0], names.map((name) => h("option", { value: name }, name)));
    select.value = state.query[key];
    select.hidden = !names.length;
  }

  function draw() {
    for (const node of element.querySelectorAll("[data-key]")) {
      const { key, value } = node.dataset;
      node.setAttribute("aria-pressed", state.query[key].includes(value));
      if (key === "status") fill(node, `${SIGNS[value]} ${value.replace("_", " ")} ${state.queue.counts?.[value] ?? ""}`);
    }
    options(dataset, Object.keys(state.queue.datasets || {}), "dataset");
    options(reviewer, state.queue.reviewers || [], "reviewer");
    order.value = state.query.order;
    risk.value = state.query.min_risk;
    fill(riskText, Number(state.query.min_risk).toFixed(2));
  }
  return { element, draw };
}

