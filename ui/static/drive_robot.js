// Which robot: the choice with honest notes, what is being opened, and the checks before anything may move.
import { button, coded, fill, h } from "./dom.js";
import { canDrive, operator, whyNot } from "./drive_choice.js";
import { command, live, post } from "./drive_live.js";
import { emit, on } from "./store.js";

const SIGNS = { ok: "✓", bad: "✕", ask: "?", none: "–" };
const FIELDS = { // what a robot needs to be opened: label, kind, value to begin with
  task: ["Task", "task", ""], seed: ["Seed", "number", 1], host: ["Host", "text", ""], port: ["Port", "number", 5755], heartbeat_port: ["Heartbeat port", "number", 5756],
  key: ["Key of this computer", "text", ""], server_key: ["Key of the robot", "text", ""],
};

export function makeRobots() {
  const cards = h("div", { class: "vs-robots" }), opening = h("div", { class: "vs-busy", hidden: true });
  const problem = h("p", { class: "vs-problem", role: "alert" });
  on("drive:note", ({ level, text }) => { if (level === "warning" && !live.state?.robot) fill(problem, coded(text)); });
  const element = h("section", { class: "vs-choose" }, h("h1", {}, "Choose a robot"), h("p", { class: "vs-dim" }, "The simulated one needs nothing and moves nothing real. Everything else on this page is the same for all of them."), opening, problem, cards);
  let drawn = "";

  function draw() {
    const { robots = [], tasks = [], opening: pending } = live.state || {};
    opening.hidden = !pending;
    if (pending) fill(problem);
    if (pending) fill(opening, h("i", {}), `${pending.message || "Opening"}…`);
    const key = JSON.stringify([robots, tasks]);
    if (key !== drawn) { drawn = key; fill(cards, robots.map((robot) => card(robot, tasks))); }
    for (const node of cards.querySelectorAll("button")) node.disabled = Boolean(pending) || !canDrive() || node.dataset.available === "false";
  }
  return { element, draw };
}

function card(robot, tasks) {
  const inputs = Object.fromEntries((robot.needs || []).map((name) => [name, field(name, tasks)]));
  const problem = h("p", { class: "vs-problem", role: "alert" }), available = robot.available !== false;
  const open = button(robot.simulated ? "Open the simulator" : "Connect", "", null, { type: "submit", class: robot.simulated ? "primary" : "", dataset: { available: String(available) } });
  return h("form", { class: `vs-robot ${available ? "" : "off"}`, onsubmit: async (event) => {
    event.preventDefault();
    fill(problem);
    const values = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.type === "number" ? Number(input.value) : input.value.trim()]));
    const answer = await post("open", { robot: robot.id, ...values });
    if (answer.error) fill(problem, answer.error);
  } }, h("header", {}, h("b", {}, robot.title), robot.simulated && h("span", { class: "vs-badge" }, "simulated")), h("p", { class: "vs-dim" }, coded(robot.note || "")),
  Object.keys(inputs).length > 0 && available && h("div", { class: "vs-fields" }, Object.entries(inputs).map(([name, input]) => h("label", {}, h("span", {}, FIELDS[name]?.[0] || name), input))), open, problem);
}

function field(name, tasks) {
  const [label, kind, value] = FIELDS[name] || [name, "text", ""];
  if (kind === "task") return h("select", { "aria-label": label }, tasks.map((task) => h("option", { value: task }, task)));
  return h("input", { type: kind, value, "aria-label": label, autocomplete: "off", spellcheck: "false", required: true });
}

// The pre-flight checks, one after the other, each with what is seen and how to mend it.
export function makeChecks() {
  const list = h("ol", { class: "vs-checks" }), verdict = h("p", { class: "vs-ready", role: "status" });
  const element = h("section", { class: "vs-preflight", "aria-label": "Pre-flight checks" }, h("h2", {}, "Before anything moves"), list, verdict);
  const answer = (check) => check.state === "ask" && button("Yes, it is so", "", () => command("confirm", { name: check.name }), { class: "primary small", disabled: !canDrive() });
  const mend = (check) => check.name === "runstop" && check.state === "bad" && live.state.robot?.simulated && button("Release it (simulated)", "", () => command("runstop", { what: "release" }), { class: "small", title: "Stands for a person who releases the button at the robot" });

  function draw() {
    const checks = live.state?.checks || [];
    const first = checks.findIndex((check) => check.state === "bad" || check.state === "ask");
    fill(list, checks.map((check, index) => h("li", { class: `${check.state} ${index === first ? "next" : ""}` }, h("i", { "aria-hidden": "true" }, SIGNS[check.state]), h("div", {}, h("b", {}, check.title), h("span", {}, " ", coded(check.text))), answer(check), mend(check))));
    const blocked = whyNot();
    fill(verdict, first < 0 && !blocked ? h("span", { class: "vs-yes" }, "✓ Ready. Write an instruction above and press Start.") : h("span", { class: "vs-apart" }, first < 0 ? blocked : `${checks.filter((check) => check.state === "bad" || check.state === "ask").length} to settle before a run can start.`));
  }
  return { element, draw };
}

// The strip at the top: live or runs, the robot and how it is, who drives and who watches.
export function makeBar(views) {
  const tabs = h("div", { class: "vs-views", role: "tablist" }, Object.entries(views).map(([name, [label, key]]) => button(label, key, () => emit("drive:view", name), { role: "tab", dataset: { view: name } })));
  const robot = h("div", { class: "vs-bar-robot" }), lease = h("div", { class: "vs-bar-lease" }), line = h("div", { class: "vs-bar-line", role: "alert" });
  const help = button("?", "", () => emit("help"), { title: "All keys (?)", class: "icon help", "aria-label": "All keys" });
  const element = h("div", { class: "vs-drive-bar" }, tabs, robot, line, lease, help);

  function draw() {
    const { state, telemetry } = live, status = telemetry?.status || state?.robot?.status;
    fill(line, live.connected || !state ? "" : `${live.problem} Connecting again…`);
    fill(robot, state?.robot ? robotParts(state, status) : h("span", { class: "vs-dim" }, state ? "no robot" : ""));
    fill(lease, state ? leaseParts(state.lease) : null);
  }
  for (const topic of ["drive:state", "drive:line"]) on(topic, draw);
  let last = "";
  on("drive:telemetry", () => { const key = JSON.stringify([statusText(live.telemetry?.status), live.telemetry?.status?.runstop, live.telemetry?.status?.battery_v]); if (key !== last) { last = key; draw(); } });
  return { element, mark: (view) => { for (const node of tabs.children) node.setAttribute("aria-selected", node.dataset.view === view); } };
}

function statusText(status) {
  if (!status) return ["", "unknown"];
  if (status.lost) return ["bad", `lost, last heard ${status.age_s.toFixed(1)} s ago`];
  if (status.runstop) return ["bad", "run-stop pressed"];
  if (status.moving) return ["moving", "moving"];
  return status.ready ? ["good", "ready, still"] : ["warn", status.problems?.[0] || "not ready"];
}

function robotParts(state, status) {
  const { robot } = state, [kind, text] = statusText(status);
  const stop = robot.simulated && (status?.runstop ? button("Release run-stop", "", () => command("runstop", { what: "release" }), { class: "small", title: "Stands for a person who releases the button at the robot" })
    : button("Press run-stop", "", () => command("runstop", { what: "press" }), { class: "small", title: "The button on the simulated robot: everything stops until it is released there" }));
  return [h("b", {}, robot.name), robot.simulated && h("span", { class: "vs-badge" }, "simulated"), h("span", { class: `vs-chip ${kind}` }, text),
    status?.battery_v && h("span", { class: "vs-dim" }, `${status.battery_v.toFixed(1)} V`), stop, button("Close", "", () => command("close"), { class: "small", title: "Let go of this robot", disabled: !canDrive() })];
}

function leaseParts(lease) {
  const who = operator(), watchers = Math.max(0, lease?.watchers || 0);
  const others = watchers ? `${watchers} ${watchers === 1 ? "person watches" : "people watch"}` : "";
  if (live.mine) return [h("span", { class: "vs-chip good" }, "you drive"), h("span", { class: "vs-dim" }, others)];
  if (!who) return [h("span", { class: "vs-dim" }, [others, "nobody drives"].filter(Boolean).join(" · "))];
  return [h("span", { class: "vs-chip warn" }, `${who.name} drives`), h("span", { class: "vs-dim" }, others), button("Take over", "", () => takeOver(who.name), { class: "small", title: "A run that is under way is stopped first" })];
}

// Taking over stops what the other one does, so it is asked for twice.
function takeOver(name) {
  const dialog = h("dialog", { class: "vs-dialog vs-takeover", "aria-label": "Take over" });
  fill(dialog, h("header", {}, h("h2", {}, `Take over from ${name}?`)), h("p", {}, "A run that is under way is stopped first. The robot is still when you take over."),
    h("footer", {}, button("Take over", "", async () => { dialog.close(); await command("lease", { take: true }); }, { class: "primary" }), button("Cancel", "", () => dialog.close())));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") dialog.close(); });
  document.body.append(dialog);
  dialog.show(); // not modal: STOP stays within reach
}
