// Above the trace: what to do, who does it and how closely a person watches. Also the scene of the simulator.
import { button, coded, debounce, fill, h } from "./dom.js";
import { actions } from "./drive_actions.js";
import { MODES, canDrive, choice, needs, policyOf, underWay, whyNot } from "./drive_choice.js";
import { command, get, live, post } from "./drive_live.js";
import { seconds } from "./drive_numbers.js";
import { on } from "./store.js";

const STATES = { running: "working", asking: "asks you", typing: "waits for your words", held: "holds still", stopping: "stopping", ended: "ended" };
const TYPED_EXAMPLE = "move forward 4 cm, then close the gripper";

export function makeSetup() {
  const text = h("input", { type: "text", class: "vs-instruction", "aria-label": "Instruction", maxlength: 2000, placeholder: "What should the robot do?", autocomplete: "off" });
  const start = button("Start", "Enter", actions.start, { class: "primary vs-start" });
  const again = h("h1", { class: "vs-now-doing" }), state = h("span", { class: "vs-run-state", role: "status" });
  const policy = h("select", { "aria-label": "Policy", onchange: () => { choice.policy = policy.value; drawSetup(); suggest(); } });
  const episode = h("select", { "aria-label": "Episode to replay", onchange: () => { choice.episode = episode.value; } });
  const modes = h("div", { class: "vs-modes", role: "group", "aria-label": "Mode" }, Object.entries(MODES).map(([name, [label, title]], index) => button(label, String(index + 1), () => actions.mode(name), { title, dataset: { mode: name } })));
  const scene = makeScene(), examples = h("div", { class: "vs-examples", "aria-label": "Examples" }), hint = h("p", { class: "vs-hint", role: "status" }), note = h("p", { class: "vs-note vs-dim" });
  const entry = h("div", { class: "vs-inline vs-entry" }, text, start), doing = h("div", { class: "vs-inline vs-doing" }, again, state);
  const element = h("section", { class: "vs-setup", "aria-label": "Instruction and policy" }, entry, doing, h("div", { class: "vs-setup-row" }, h("label", {}, h("span", {}, "policy"), policy), episode, modes, scene.element), note, examples, hint);
  let proposed = "";

  text.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); actions.start(); } });
  text.addEventListener("input", () => suggest());
  Object.assign(actions.instruction, { value: () => text.value.trim(), set: (value) => { text.value = value; suggest(); text.focus(); }, focus: () => text.focus() });

  // Action language in the box of a policy that wants a task: offer to drive it as it is written.
  const suggest = debounce(250, async () => {
    const words = text.value.trim();
    if (underWay() || !words || needs("typed") || !/[\d[]/.test(words)) { fill(hint); return; }
    const answer = await post("read", { text: words });
    if (answer.ok && text.value.trim() === words && !needs("typed")) fill(hint, "This reads as action language. ", button("Drive it as typed", "", () => { choice.policy = "typed"; drawSetup(); actions.start(); }, { class: "small" }));
    else fill(hint);
  });

  function drawSetup() {
    const { robot, policies = [], run } = live.state || {}, busy = underWay();
    element.hidden = !robot;
    if (!robot) return;
    if (!policyOf()?.available) choice.policy = policies.find((each) => each.available)?.name || "";
    drawPolicies(policies, busy);
    entry.hidden = busy;
    doing.hidden = !busy;
    for (const node of modes.children) {
      node.setAttribute("aria-pressed", node.dataset.mode === (busy ? live.state.mode : choice.mode));
      node.disabled = !canDrive() && busy;
    }
    if (robot.scene && robot.scene.instruction !== proposed) { // a new scene: its own task, unless somebody wrote something else
      if (!text.value || text.value === proposed) text.value = robot.scene.instruction;
      proposed = robot.scene.instruction;
    }
    if (busy) fill(again, run.instruction);
    again.title = run?.instruction || "";
    drawExamples(robot, busy);
    drawStart();
    scene.draw(robot, busy);
    if (busy) fill(hint);
  }

  function drawPolicies(policies, busy) {
    const key = JSON.stringify(policies);
    if (policy.dataset.key !== key) {
      fill(policy, policies.map((each) => h("option", { value: each.name, disabled: !each.available }, each.available ? each.title : `${each.title} (not available)`)));
      policy.dataset.key = key;
    }
    policy.value = busy ? live.state.run.policy : choice.policy;
    policy.disabled = busy;
    const current = policyOf(policy.value);
    policy.title = [current?.note, ...policies.filter((each) => !each.available).map((each) => `${each.title}: ${each.why_not}`)].filter(Boolean).join("\n");
    fill(note, coded(current?.note || ""));
    note.hidden = busy || !current?.note;
    episode.hidden = busy || !needs("episode");
    if (!episode.hidden && !episode.options.length) loadEpisodes(episode);
    text.placeholder = needs("typed", policy.value) ? TYPED_EXAMPLE : "What should the robot do?";
  }

  function drawExamples(robot, busy) {
    const typed = needs("typed");
    const list = typed ? [{ language: "en", name: "Action language", text: TYPED_EXAMPLE }, { language: "en", name: "As numbers", text: "[[4.0, 0.0, 0.0, 1], [0.0, 0.0, 0.0, 0]]" }, { language: "en", name: "Turn", text: "raise 3 cm and turn left 10 degrees" }] : robot.scene?.examples || [];
    const key = JSON.stringify([list, busy]);
    if (examples.dataset.key === key) return;
    examples.dataset.key = key;
    examples.hidden = busy || !list.length;
    fill(examples, h("span", { class: "vs-dim" }, "try"), list.map((example) => h("button", { type: "button", lang: example.language, title: example.name, onclick: () => actions.instruction.set(example.text) }, example.text)));
  }

  function drawStart() {
    const blocked = whyNot();
    start.disabled = Boolean(blocked);
    start.title = blocked || "Start the run (Enter in the instruction box)";
  }

  function drawState() {
    const run = live.state?.run;
    if (!run || !live.run) return;
    const since = live.run.began === null ? 0 : Math.max(0, live.run.last - live.run.began);
    if (state.dataset.state !== run.state) fill(state, h("i", { "aria-hidden": "true" }), STATES[run.state] || run.state, h("small", {}));
    state.dataset.state = run.state;
    state.lastChild.textContent = seconds(since);
  }

  on("drive:state", () => { drawSetup(); drawState(); });
  for (const topic of ["drive:choice", "drive:line"]) on(topic, drawSetup);
  on("drive:run", drawState);
  return { element };
}

async function loadEpisodes(select) {
  const answer = await get("/drive/episodes");
  fill(select, (answer.episodes || []).map((each) => h("option", { value: each.id }, `${each.instruction} (${each.id.slice(-6)}${each.annotated ? "" : ", not annotated"})`)));
  if (!select.options.length) fill(select, h("option", { value: "" }, "no episode of this robot"));
  choice.episode = select.value;
}

// Task and seed of the simulated scene.
function makeScene() {
  const task = h("select", { "aria-label": "Task of the scene" }), seed = h("input", { type: "number", min: 0, max: 99999, step: 1, "aria-label": "Seed of the scene", title: "The same seed is the same table" });
  const apply = button("New scene", "", async () => {
    apply.disabled = true;
    await command("scene", { task: task.value, seed: Number(seed.value) || 0 });
    apply.disabled = false;
  }, { class: "small", title: "Lay the table for this task and seed" });
  const element = h("div", { class: "vs-scene" }, h("span", { class: "vs-dim" }, "scene"), task, seed, apply);
  let drawn = "";
  seed.addEventListener("keydown", (event) => { if (event.key === "Enter") apply.click(); });
  return {
    element,
    draw: (robot, busy) => {
      element.hidden = !robot.scene || busy;
      if (!robot.scene) return;
      const key = `${robot.scene.task}/${robot.scene.seed}`;
      if (!task.options.length) fill(task, live.state.tasks.map((name) => h("option", { value: name }, name)));
      if (key !== drawn) { task.value = robot.scene.task; seed.value = robot.scene.seed; drawn = key; }
      apply.disabled = Boolean(live.state.opening) || !canDrive();
    },
  };
}
