// Everything a reviewer can do, under the name that buttons and keys share.
import { call, change, clamp, emit, loadQueue, openEpisode, save, selectSpan, setStep, spanIndex, spanOf, state } from "./store.js";

const current = () => spanOf(state.span);

function neighbour(by) {
  const spans = state.view?.spans || [];
  const next = spans[clamp(spanIndex() + by, 0, spans.length - 1)];
  if (next) selectSpan(next.uid, { seek: true });
}

async function nextEpisode() {
  const answer = await call("next_episode", { query: state.query, after: state.view?.id || "" });
  if (answer.error) emit("problem", answer.error);
  else if (answer.ok && answer.ok !== state.view?.id) await openEpisode(answer.ok);
  else emit("problem", "Nothing else to review with these filters.");
}

function boundary(edge) {
  const span = current();
  if (!span) return;
  // "End here" keeps the step that is shown inside the subtask.
  const step = edge === "start" ? state.step : state.step + 1;
  if (step !== span[edge]) save({ kind: "move_boundary", uid: span.uid, edge, step });
}

function setStatus(status, reason = "", uid = state.span) {
  if (state.view?.spans.length) return save({ kind: "set_status", uid, status, reason });
  return Promise.resolve(false);
}

async function acceptAndNext() {
  const last = spanIndex() === state.view.spans.length - 1;
  if (!last) { setStatus("accepted"); neighbour(1); return; }
  if (await setStatus("accepted")) await nextEpisode();
}

export const actions = {
  clock: {},
  play: () => actions.clock.toggle?.(),
  loop: () => actions.clock.setLoop?.(!actions.clock.loop()),
  step: (by) => setStep(state.step + by),
  neighbour,
  nextEpisode,
  previousEpisode: () => {
    const rows = state.queue.rows, index = rows.findIndex((row) => row.id === state.view?.id);
    if (index > 0) openEpisode(rows[index - 1].id);
  },
  camera: () => {
    const names = state.view?.cameras || [];
    if (names.length < 2) return;
    state.camera = names[(names.indexOf(state.camera) + 1) % names.length];
    emit("camera");
  },
  startHere: () => boundary("start"),
  endHere: () => boundary("end"),
  split: () => {
    const span = current();
    if (span && span.start < state.step && state.step < span.end) save({ kind: "split", uid: span.uid, step: state.step });
    else emit("problem", "Move the playhead inside the subtask to split it there.");
  },
  merge: () => {
    if (current() && spanIndex() < state.view.spans.length - 1) save({ kind: "merge", uid: state.span });
    else emit("problem", "There is no next subtask to merge with.");
  },
  draw: () => emit("drawing"),
  create: async (start, end) => {
    if (end > start && (await save({ kind: "create", start, end, text: "New subtask" }))) emit("focus", "subtask");
  },
  accept: () => setStatus(current()?.status === "accepted" ? "pending" : "accepted"),
  acceptAndNext,
  acceptEpisode: () => setStatus("accepted", "", null),
  setStatus,
  reject: () => current() && emit("ask", "reject"),
  flag: () => current() && emit("ask", "flag"),
  again: () => current() && emit("ask", "again"),
  editPlan: () => emit("focus", "plan"),
  editSubtask: () => emit("focus", "subtask"),
  editChunk: () => emit("focus", "chunk"),
  undo: () => state.view?.can_undo && change("undo"),
  redo: () => state.view?.can_redo && change("redo"),
  takeDerived: () => {
    const span = current();
    if (span?.stale.length) save({ kind: "rederive", uid: span.uid, levels: span.stale.filter((level) => level !== "subtask") });
  },
  annotate: async (annotator) => {
    emit("busy", true);
    const answer = await call("annotate", { episode: state.view.id, annotator });
    emit("busy", false);
    if (answer.error) emit("problem", answer.error);
    else { await openEpisode(state.view.id); loadQueue(); }
  },
  help: () => emit("help"),
};
