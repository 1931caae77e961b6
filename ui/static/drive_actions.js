// Everything that a person can do on the Drive page, under the name that buttons and keys share.
import { choice, needs, underWay, whyNot } from "./drive_choice.js";
import { command, live } from "./drive_live.js";
import { emit } from "./store.js";

export const HOLD_OFF_MS = 350; // a yes that was meant for the last question must not answer the next one; a no is never too early

let askedAt = 0;
export const questionCame = () => { askedAt = performance.now(); };

async function start() {
  if (underWay()) return;
  const text = actions.instruction.value(), blocked = whyNot();
  if (blocked) { emit("problem", blocked); return; }
  if (!text) { actions.instruction.focus(); return; }
  if (needs("episode") && !choice.episode) { emit("problem", "Choose an episode to replay; there must be an annotated one of this robot."); return; }
  const typed = needs("typed"), body = { policy: choice.policy, instruction: text, mode: choice.mode, episode: needs("episode") ? choice.episode : "" };
  const began = await command("start", body);
  if (began && typed) await command("type", { text }); // what was typed to start with is the first motion
}

async function answer(go, reason = "") {
  const question = live.run?.question;
  if (!question || !live.mine || (go && performance.now() - askedAt < HOLD_OFF_MS)) return;
  await command("answer", { key: question.key, go, reason });
}

async function mode(name) {
  choice.mode = name;
  if (underWay()) await command("mode", { mode: name });
  else emit("drive:choice");
}

export const actions = {
  start, mode,
  approve: () => (live.state?.run?.state === "held" ? command("ask_again") : answer(true)),
  refuse: () => answer(false, "refused by the operator"),
  instruction: { value: () => "", focus: () => {}, set: () => {} }, // the instruction box puts itself here
  edit: () => emit("drive:edit"),
  correct: () => emit("drive:correct"),
  camera: () => emit("drive:camera"),
  view: (name) => emit("drive:view", name),
  play: () => emit("drive:play"),
  step: (by) => emit("drive:step", by),
  takeOver: () => command("lease", { take: true }),
  help: () => emit("help"),
};
