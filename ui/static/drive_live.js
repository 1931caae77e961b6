// What the Drive page knows of the robot, and every question to the studio. Events come over one WebSocket, which browsers
// count apart from the few connections that pictures may use up; where there is none, over server-sent events.
import { apply, emptyRun } from "./drive_run.js";
import { emit, on, reviewer } from "./store.js";

const BEAT_MS = 500;
const QUIET_MS = 3500; // a line that is silent for so long is cut: the studio sends a beat every second
const RETRY_MS = [200, 500, 1000, 2000];
const ID_KEY = "vlm2vla.drive.client";

export const client = sessionStorage.getItem(ID_KEY) || crypto.randomUUID?.() || `page-${Math.random().toString(36).slice(2, 14)}`;
sessionStorage.setItem(ID_KEY, client);

// state: as GET /drive/state says it, kept up to date; telemetry: newest pose and status; run: what the trace draws.
export const live = { state: null, telemetry: null, cameras: {}, run: null, connected: false, problem: "", mine: false };

let waiting = false, boot = "", seq = 0, offset = 0, retries = 0, socket = null, source = null, heard = 0, plain = false;

// Seconds on the studio's clock, which every "at" and every deadline is on.
export const now = () => performance.now() / 1000 + offset;
const setClock = (value) => { if (Number.isFinite(value)) offset = value - performance.now() / 1000; };

export async function get(path) {
  try {
    const response = await fetch(path, { cache: "no-store" });
    const answer = await response.json().catch(() => ({}));
    return response.ok ? answer : { error: answer.error || answer.detail || `The studio answered ${response.status}.` };
  } catch {
    return { error: "The studio does not answer. Is it still running?" };
  }
}

// Every answer is {ok} or {error, code}; a lost connection becomes an error too.
export async function post(name, body = {}) {
  try {
    const response = await fetch(`/drive/${name}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ client, reviewer: reviewer(), ...body }) });
    const answer = await response.json().catch(() => ({}));
    return response.ok || answer.error ? answer : { error: `The studio answered ${response.status}.` };
  } catch {
    return { error: "The studio does not answer. Nothing was sent; is it still running?" };
  }
}

// Ask, and show what went wrong, if anything. Resolves to the answer's value, or undefined. Where nobody drives, whoever asks
// for something becomes the operator.
export async function command(name, body = {}) {
  let answer = await post(name, body);
  if (answer.code === "lease" && !live.state?.lease?.operator && (await post("lease", { take: false })).ok) answer = await post(name, body);
  if (answer.error) emit("problem", answer.error);
  return answer.error ? undefined : answer.ok ?? true;
}

async function load() {
  const state = await get(`/drive/state?client=${client}`);
  if (state.error) throw new Error(state.error);
  ({ boot, seq } = state);
  setClock(state.now);
  live.state = state;
  live.telemetry = state.robot ? { pose: state.robot.pose, status: state.robot.status } : null;
  await resume(state.run);
  own();
  emit("drive:state");
  emit("drive:run");
  emit("drive:telemetry");
}

// A run that was under way before this page: what happened so far, from its records.
async function resume(run) {
  if (!run) { live.run = null; return; }
  live.run = emptyRun(run);
  const past = await get(`/drive/runs/${run.id}`);
  for (const record of past.records || []) if (record.seq === undefined || record.seq <= seq) apply(live.run, record);
  live.run.question = run.question;
  live.run.verdict = past.run; // what a person said of it
}

function own() {
  const operator = live.state?.lease?.operator;
  live.mine = operator?.client === client;
}

const LATER = new Set(["stop", "telemetry", "cameras", "state", "note"]);

function take(record) {
  heard = performance.now();
  if (record.kind === "beat") return;
  if (record.kind === "reset") { connect(); return; }
  if (record.seq !== undefined && record.kind !== "telemetry") seq = Math.max(seq, record.seq);
  if (Number.isFinite(record.at) && record.at > now()) setClock(record.at);
  if (record.kind === "telemetry") { live.telemetry = record; emit("drive:telemetry"); return; }
  if (record.kind === "cameras") { live.cameras = record.cameras || record; emit("drive:cameras"); return; }
  if (record.kind === "stop") dispatchEvent(new CustomEvent("vs-stopped", { detail: record }));
  if (record.kind === "note") emit("drive:note", record);
  if (record.kind === "state") merge(record);
  if (!LATER.has(record.kind)) follow(record);
}

function merge(record) {
  const { kind, seq: _seq, at: _at, run: _id, ...changed } = record;
  if (typeof record.run === "object") changed.run = record.run;
  Object.assign(live.state, changed);
  if (changed.robot) live.telemetry = { pose: changed.robot.pose, status: changed.robot.status };
  if (changed.run && live.run && changed.run.id === live.run.id) live.run.info = changed.run;
  own();
  emit("drive:state");
}

function follow(record) {
  if (record.kind === "run_began") live.run = emptyRun(record.run_info);
  if (!live.run) live.run = emptyRun();
  apply(live.run, record);
  if (record.kind === "edit_refused") emit("drive:note", { level: "warning", text: record.reason });
  if (record.kind === "run_began" || record.kind === "run_ended") emit("drive:turn", record.kind);
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; emit("drive:run"); }); }
}

// ---- the line to the studio

export async function connect() {
  close();
  try {
    await load();
  } catch (error) {
    down(error.message);
    return;
  }
  heard = performance.now();
  if (plain) listen();
  else dial();
}

function dial() {
  const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/drive/live?since=${seq}&client=${client}&boot=${boot}`);
  let opened = false;
  socket = mine;
  mine.onopen = () => { opened = true; up(); };
  mine.onmessage = (event) => { if (socket === mine) take(JSON.parse(event.data)); };
  mine.onclose = () => {
    if (socket !== mine) return;
    if (!opened && retries > 1) plain = true; // something on the way does not speak WebSocket
    down();
  };
}

function listen() {
  const mine = new EventSource(`/drive/events?since=${seq}&client=${client}`);
  source = mine;
  mine.onopen = up;
  mine.onmessage = (event) => { if (source === mine) take(JSON.parse(event.data)); };
  mine.onerror = () => { if (source === mine) down(); };
}

function up() {
  retries = 0;
  Object.assign(live, { connected: true, problem: "" });
  emit("drive:line");
}

function close() {
  const old = [socket, source];
  socket = source = null;
  for (const each of old) each?.close();
}

function down(problem = "") {
  close();
  Object.assign(live, { connected: false, problem: problem || "The line to the studio is cut." });
  emit("drive:line");
  setTimeout(connect, RETRY_MS[Math.min(retries++, RETRY_MS.length - 1)]);
}

const say = (message) => { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); };

// The operator's sign of life, and a watch over the line itself.
function beat() {
  if (live.mine && live.connected) {
    if (socket) say({ beat: true, reviewer: reviewer() });
    else post("beat");
  }
  if (live.connected && socket && performance.now() - heard > QUIET_MS) down("The studio has gone silent.");
}

// Beats at the pulse of a worker, which goes on while this page is in the background; without workers, by a timer.
function startHeart() {
  try {
    const heart = new Worker("/ui/drive_heart.js"), tell = () => heart.postMessage({ operator: live.mine && live.connected ? { client, reviewer: reviewer() } : null });
    heart.onmessage = () => { tell(); beat(); };
    on("drive:state", tell);
    heart.addEventListener("error", () => setInterval(beat, BEAT_MS), { once: true });
  } catch {
    setInterval(beat, BEAT_MS);
  }
}

export function startLive() {
  addEventListener("vs-stop", () => say({ stop: true }));
  addEventListener("pagehide", () => { if (live.mine) navigator.sendBeacon("/drive/leave", new Blob([JSON.stringify({ client, reviewer: reviewer() })], { type: "application/json" })); });
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  startHeart();
  return connect();
}
