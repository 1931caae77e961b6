// What the page knows, and every call to the server. Saves go out one after the other, each on the revision that the last
// answer brought; a refused one is kept as a draft. Knows nothing of the DOM.

export const state = {
  user: "", // the name of the login; "" when the studio has no password
  query: { search: "", status: [], source: [], dataset: "", reviewer: "", min_risk: 0, order: "risk" },
  queue: { rows: [], total: 0, next: null, counts: null, datasets: {}, reviewers: [], loading: true },
  view: null, opening: "", failed: "",
  span: "", step: 0, camera: "", playing: false,
  saving: 0, conflict: null, job: null,
};

const NAME_KEY = "vlm2vla.reviewer";
const PARTS = 3; // queue, stage, inspector: each brings the server functions it needs
const listeners = new Map();
const server = {};
let parts = 0, announce = null;
const ready = new Promise((resolve) => { announce = resolve; });

export function on(topic, listener) {
  if (!listeners.has(topic)) listeners.set(topic, new Set());
  listeners.get(topic).add(listener);
}

export function emit(topic, detail) {
  for (const listener of listeners.get(topic) || []) listener(detail);
}

// Called by each component once; calls wait until all of them are there.
export function register(functions) {
  Object.assign(server, functions);
  parts += 1;
  if (parts >= PARTS) announce();
}

export function reviewer() {
  return state.user || localStorage.getItem(NAME_KEY) || "reviewer";
}

export function setReviewer(name) {
  localStorage.setItem(NAME_KEY, name.trim().slice(0, 60) || "reviewer");
}

// Every answer is {ok}, {conflict} or {error}; a lost connection becomes an error too.
export async function call(name, args = {}) {
  await ready;
  try {
    return await server[name]({ reviewer: reviewer(), ...args });
  } catch {
    return { error: "The studio does not answer. Is it still running? Nothing you typed is lost." };
  }
}

// ---- the queue

let asked = 0;

export async function loadQueue({ more = false } = {}) {
  const ticket = ++asked;
  if (more && !state.queue.next) return;
  state.queue.loading = true;
  emit("queue");
  const answer = await call("list_queue", { query: state.query, after: more ? state.queue.next : null });
  if (ticket !== asked) return; // a newer question is on its way
  state.queue.loading = false;
  if (answer.error) { state.queue.error = answer.error; emit("queue"); return; }
  const rows = more ? state.queue.rows.concat(answer.ok.rows) : answer.ok.rows;
  state.queue = { datasets: {}, reviewers: [], ...answer.ok, rows, loading: false, error: "" };
  emit("queue");
}

// ---- the open episode

const bases = new Map(); // episode id -> revision that the next save builds on
let waiting = []; // saves without an answer yet, in order
let chain = Promise.resolve();

export async function openEpisode(id, { span = "", step = null } = {}) {
  if (state.view && state.view.id !== id) call("release", { episode: state.view.id });
  Object.assign(state, { opening: id, failed: "", playing: false, conflict: null });
  emit("opening");
  const answer = await call("open", { episode: id });
  if (state.opening !== id) return;
  state.opening = "";
  if (!answer.ok) {
    Object.assign(state, { view: null, failed: answer.error });
    emit("view", { fresh: true });
    return;
  }
  const view = answer.ok;
  bases.set(id, view.revision);
  state.view = view;
  if (!view.cameras.includes(state.camera)) state.camera = view.cameras[0] || "";
  state.step = clamp(step ?? spanOf(span)?.start ?? 0, 0, view.steps - 1);
  state.span = (spanOf(span) || spanAt(state.step) || view.spans[0])?.uid || "";
  emit("view", { fresh: true });
}

export const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
export const spanOf = (uid) => state.view?.spans.find((span) => span.uid === uid);
export const spanAt = (step) => state.view?.spans.find((span) => span.start <= step && step < span.end);
export const spanIndex = () => (state.view ? state.view.spans.findIndex((span) => span.uid === state.span) : -1);

export function selectSpan(uid, { seek = false } = {}) {
  if (!spanOf(uid)) return;
  const changed = uid !== state.span;
  state.span = uid;
  if (seek) setStep(spanOf(uid).start);
  if (changed) emit("span");
}

export function setStep(step) {
  const next = clamp(Math.round(step), 0, (state.view?.steps || 1) - 1);
  if (next === state.step) return;
  state.step = next;
  emit("step");
}

// ---- saving

// The change as it will look, shown before the server has answered; the answer replaces it.
function foresee(view, edit) {
  const index = view.spans.findIndex((span) => span.uid === edit.uid);
  const span = view.spans[index];
  if (edit.kind === "set_status") {
    for (const each of span ? [span] : view.spans) Object.assign(each, { status: edit.status, reason: edit.reason || "" });
  } else if (edit.kind === "set_text" && span) {
    span[edit.level === "subtask" ? "text" : edit.level] = edit.text;
    span.stale = span.stale.filter((level) => level !== edit.level);
  } else if (edit.kind === "move_boundary" && span) {
    const other = view.spans[edit.edge === "end" ? index + 1 : index - 1];
    const shared = other && (edit.edge === "end" ? other.start === span.end : other.end === span.start);
    span[edit.edge] = edit.step;
    if (shared) other[edit.edge === "end" ? "start" : "end"] = edit.step;
    for (const each of shared ? [span, other] : [span]) Object.assign(each, { stale: ["plan", "chunk"], status: each.status === "accepted" ? "pending" : each.status });
  }
}

// Save one edit of the open episode. Resolves to true when it is in the store.
export function save(edit) {
  return change("edit", { edit });
}

export function change(name, args = {}) {
  if (!state.view) return Promise.resolve(false);
  const entry = { name, args, episode: state.view.id };
  waiting.push(entry);
  state.saving = waiting.length;
  if (args.edit) foresee(state.view, args.edit);
  emit("saving");
  if (args.edit) emit("view", {});
  const result = chain.then(() => send(entry));
  chain = result.catch(() => {});
  return result;
}

async function send(entry) {
  if (state.conflict && state.conflict.episode === entry.episode) return hold(entry);
  const answer = await call(entry.name, { episode: entry.episode, base: bases.get(entry.episode) ?? 0, ...entry.args });
  if (answer.conflict) {
    const between = await call("conflict", { episode: entry.episode, base: bases.get(entry.episode) ?? 0, edit: entry.args.edit || {} });
    state.conflict = { episode: entry.episode, author: "Somebody", at: "", changes: [], ...answer.conflict, ...between.ok, held: [] };
    return hold(entry);
  }
  waiting = waiting.filter((other) => other !== entry);
  state.saving = waiting.length;
  if (answer.ok) show(answer.ok, entry);
  else if (state.view?.id === entry.episode) await reload(entry.episode);
  emit("saving");
  if (answer.error) emit("problem", answer.error);
  return Boolean(answer.ok);
}

function show(view, entry) {
  bases.set(view.id, view.revision);
  if (state.view?.id !== view.id) return;
  const before = spanIndex();
  for (const other of waiting) if (other.episode === view.id && other.args.edit) foresee(view, other.args.edit);
  state.view = view;
  if (entry?.args.edit?.kind === "create") state.span = view.spans.find((span) => span.start === entry.args.edit.start)?.uid || state.span;
  if (!spanOf(state.span)) state.span = (view.spans[clamp(before, 0, view.spans.length - 1)] || {}).uid || "";
  markRow(view);
  emit("view", { saved: true });
}

// The queue row of an episode follows what was just saved, without asking for the whole queue again.
function markRow(view) {
  const row = state.queue.rows.find((each) => each.id === view.id);
  if (!row) return;
  const counts = state.queue.counts;
  if (counts && row.status !== view.status && row.status in counts && view.status in counts) {
    counts[row.status] -= 1;
    counts[view.status] += 1;
  }
  Object.assign(row, { status: view.status, risk: view.risk, author: view.author });
  row.errors = view.findings.filter((finding) => finding.severity === "error").length;
  row.warnings = view.findings.filter((finding) => finding.severity === "warning").length;
  emit("queue");
}

// Renews the lease, and shows what others saved in the meantime, unless something of mine is on its way.
export async function refresh() {
  const id = state.view?.id;
  if (!id || state.saving || state.conflict || state.opening) return;
  const answer = await call("open", { episode: id });
  const idle = state.view?.id === id && !state.saving && !state.conflict;
  if (answer.ok && idle && answer.ok.revision !== state.view.revision) {
    emit("changed", answer.ok.author);
    show(answer.ok);
  }
}

async function reload(id) {
  const answer = await call("open", { episode: id });
  if (answer.ok && state.view?.id === id) show(answer.ok);
}

// ---- somebody saved in between

function hold(entry) {
  waiting = waiting.filter((other) => other !== entry);
  state.saving = waiting.length;
  state.conflict.held.push(entry);
  emit("conflict");
  emit("saving");
  return false;
}

// keep: apply my edits on top of what the other person saved; otherwise drop them.
export async function settleConflict(keep) {
  const { episode, held } = state.conflict;
  state.saving = keep ? held.length : 0;
  emit("saving");
  await reload(episode);
  state.conflict = null;
  emit("conflict");
  if (!keep) return;
  for (const entry of held) if (entry.args.edit) change(entry.name, entry.args);
}
