// A run as the trace shows it, made from its records one by one: the same for a run that happens and one that is replayed.
// Knows neither the page nor the network.

const MOVING = new Set(["reached", "contact", "clipped", "timeout", "fault", "stopped", "runstop", "refused"]);

export function emptyRun(info = {}) {
  return {
    id: info.id || "", info, instruction: info.instruction || "", upcoming: [], groups: [], streaming: null, tries: [], subtasksRaw: "",
    path: { did: [], said: [], preview: null }, steps: [], truth: info.truth || null, question: null, ended: null, began: info.began ?? null, last: info.began ?? 0,
  };
}

// groups: [{index, text, done, cycles: [cycle]}], one per subtask in the order in which it was worked on.
const cycleOf = (run) => run.groups.at(-1)?.cycles.at(-1) || null;

const newCycle = (at, driving) => ({
  version: 0, number: driving.cycle, at, plan: driving.plan || "", planSource: "policy", planRaw: "", tries: [], chunk: null, rows: [], decided: null, asked: null,
  verdict: null, gaveUp: "", edits: [], typed: "", began: { plan: at }, took: {},
});

const QUIET = new Set(["observed", "truth"]); // these change nothing that a cycle shows

// Change `run` by one record; unknown kinds are left alone. `version` of a cycle grows with what it shows.
export function apply(run, record) {
  run.last = Math.max(run.last, record.at ?? 0);
  const before = cycleOf(run);
  steps[record.kind]?.(run, record, before);
  for (const cycle of QUIET.has(record.kind) ? [] : [before, cycleOf(run)]) if (cycle) cycle.version += 1;
  return run;
}

export const replayed = (info, records) => records.reduce(apply, emptyRun(info));

const steps = {
  run_began: (run, { run_info, at }) => Object.assign(run, emptyRun(run_info), { began: run_info.began ?? at }),
  observed: (run, record, cycle) => {
    run.steps.push({ step: record.step, at: record.at, ee: record.ee, joints: record.joints });
    run.path.did.push(centimetres(record.ee));
    if (cycle) cycle.looked = record.at;
  },
  streaming: (run, { level, text }) => { run.streaming = { level, text }; },
  subtasks: (run, { texts, raw, seconds }) => {
    Object.assign(run, { streaming: null, subtasksRaw: raw, subtasksTook: seconds });
    if (!run.groups.length) run.upcoming = texts;
  },
  cycle: (run, { at, driving }) => {
    const last = run.groups.at(-1);
    Object.assign(run, { streaming: null, upcoming: driving.subtasks.slice(driving.index + 1) });
    const cycle = newCycle(at, driving);
    if (last && last.text === driving.subtask && last.index === driving.index && !last.done) last.cycles.push(cycle);
    else run.groups.push({ index: driving.index, text: driving.subtask, at, done: false, again: taken(run, driving), cycles: [cycle] });
    cycle.tries = run.tries.splice(0);
  },
  plan: (run, record, cycle) => {
    run.streaming = null;
    if (!cycle) return;
    Object.assign(cycle, { plan: record.text, planRaw: record.raw, planSource: record.source || "policy" });
    if (run.typed) Object.assign(cycle, { typed: run.typed.text, typedBy: run.typed.by });
    run.typed = null;
    cycle.took.plan = record.seconds || record.at - cycle.began.plan;
    cycle.began.chunk = record.at;
  },
  parse_failed: (run, record, cycle) => {
    run.streaming = null;
    (cycle ? cycle.tries : run.tries).push({ attempt: record.attempt, raw: record.raw, problem: record.problem });
  },
  chunk: (run, record, cycle) => {
    run.streaming = null;
    if (!cycle) return;
    const { text, raw, attempts, source = "policy" } = record;
    cycle.chunk = { text, raw, attempts, source };
    cycle.rows = rowsOf(record);
    cycle.numbers = { text: record.numbers, agrees: record.plan_agrees };
    cycle.took.chunk = record.seconds || record.at - (cycle.began.chunk ?? record.at);
    cycle.ready = record.at;
    run.path.preview = pathOf(run, record.rows);
  },
  gave_up: (run, { reason, attempts }, cycle) => {
    run.streaming = null;
    if (cycle) cycle.gaveUp = attempts ? `${reason} (${attempts} tries)` : reason;
  },
  question: (run, { question, at }, cycle) => {
    run.question = question;
    if (!cycle) return;
    cycle.asked = { at: cycle.asked?.key === question.key ? cycle.asked.at : at, flags: question.flags, key: question.key };
    cycle.rows = rowsOf(question);
    cycle.numbers = { text: question.numbers, agrees: question.plan_agrees };
    if (cycle.chunk) Object.assign(cycle.chunk, { text: question.text, source: question.edited ? "person" : cycle.chunk.source });
    run.path.preview = pathOf(run, question.rows);
  },
  answered: (run, { key, go, by, reason }, cycle) => {
    if (run.question?.key === key) run.question = null;
    if (cycle) cycle.answer = { go, by, reason };
  },
  decided: (run, { approved, reason, at }, cycle) => {
    run.question = null;
    if (!cycle) return;
    cycle.decided = { approved, reason };
    cycle.took.asked = at - (cycle.asked?.at ?? cycle.ready ?? at);
    cycle.went = at;
    if (!approved) run.path.preview = null;
  },
  edited: (run, { what, text, by }, cycle) => { cycle?.edits.push({ what, text, by }); },
  edit_refused: (run, { what, text, by }, cycle) => { cycle?.edits.push({ what: `${what} too late, so nothing was changed`, text, by }); },
  typed: (run, { text, by }) => { run.typed = { text, by }; }, // becomes the next plan
  action_asked: (run, record, cycle) => {
    if (!cycle) return;
    const row = (cycle.rows[record.row] ||= { asked: record.asked, says: "" });
    Object.assign(row, { judged: record.judged, state: record.judged.verdict === "refused" ? "refused" : "now" });
    if (record.row === 0 && run.path.preview) run.path.said.push(run.path.preview);
    run.path.preview = null;
  },
  action_done: (run, record, cycle) => {
    const row = cycle?.rows[record.row];
    if (!row) return;
    const { outcome, measured, message, seconds } = record;
    Object.assign(row, { state: outcome === "reached" ? "done" : MOVING.has(outcome) ? outcome : "fault", outcome, measured, message, seconds, did: record.says || "" });
    cycle.moved = record.at;
    cycle.took.moved = record.at - (cycle.went ?? record.at);
  },
  verdict: (run, record, cycle) => {
    if (!cycle) return;
    cycle.verdict = { done: record.done, reason: record.reason, before: record.before_step, after: record.after_step };
    cycle.took.judged = record.at - (cycle.looked ?? cycle.moved ?? record.at);
    Object.assign(run.groups.at(-1), { done: record.done, ended: record.at });
  },
  truth: (run, { partial, success, milestones }) => { run.truth = { partial, success, milestones }; },
  run_ended: (run, record) => {
    Object.assign(run, { ended: record, question: null, streaming: null, truth: record.truth || run.truth });
    run.path.preview = null;
    for (const row of cycleOf(run)?.rows || []) if (row.state === "now") row.state = "stopped";
  },
};

function rowsOf({ rows, judged = [], says = [], text }) {
  const texts = splitRows(text, rows.length);
  return rows.map((asked, index) => ({ asked, text: texts[index] || "", says: says[index] || "", judged: judged[index] || null, state: "todo" }));
}

// "[[1, 0, -2, 1], [..]]" -> one text per row; none for other spellings, which are shown whole.
function splitRows(text, count) {
  const found = text.match(/\[[^[\]]*\]/g) || [];
  return found.length === count ? found : [];
}

// Whether a subtask was worked on before: what could not be finished led back to it.
const taken = (run, driving) => run.groups.some((group) => group.index === driving.index && group.text === driving.subtask);

// Where a run is: number of its subtask, and of its cycle. An edit names what it was made for.
export function placeOf(run) {
  const group = run?.groups.at(-1);
  return group ? [group.index, group.cycles.at(-1).number] : null;
}

const centimetres = (ee) => ee.slice(0, 3).map((metres) => metres * 100);

// Where the words lead from where the robot is now, cm.
function pathOf(run, rows) {
  const points = [run.path.did.at(-1) || [0, 0, 0]];
  for (const row of rows) points.push(points.at(-1).map((value, axis) => value + row[axis] * 100));
  return points;
}

// How far the robot ended from where the words lead, cm, for the newest carried-out chunk of a cycle; null when nothing moved.
export function missed(cycle) {
  const moved = cycle.rows.filter((row) => row.measured);
  if (!moved.length) return null;
  const sum = (pick) => [0, 1, 2].map((axis) => moved.reduce((total, row) => total + pick(row)[axis] * 100, 0));
  const asked = sum((row) => row.asked), did = sum((row) => row.measured);
  return Math.hypot(...asked.map((value, axis) => value - did[axis]));
}

// Rows of a whole run: how many moved, were shortened, were refused; how many texts did not parse.
export function counts(run) {
  const cycles = run.groups.flatMap((group) => group.cycles), rows = cycles.flatMap((cycle) => cycle.rows);
  return {
    cycles: cycles.length, moved: rows.filter((row) => row.measured).length, retries: cycles.reduce((sum, cycle) => sum + cycle.tries.length, 0),
    clamped: rows.filter((row) => row.state !== "todo" && row.judged?.verdict === "clamped").length, refused: rows.filter((row) => row.state === "refused").length,
  };
}
