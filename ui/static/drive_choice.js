// What is chosen for the next run, and what this page may do at the moment.
import { live } from "./drive_live.js";

export const MODES = {
  step: ["Step", "You approve each chunk before anything moves"],
  supervised: ["Supervised", "Carried out after a countdown unless you veto; what the safety rules touch waits for your yes"],
  auto: ["Auto", "Everything that the safety rules let through is carried out"],
};
export const choice = { policy: "", mode: "step", episode: "" };

export const policyOf = (name = choice.policy) => live.state?.policies.find((policy) => policy.name === name);
export const needs = (what, name) => Boolean(policyOf(name)?.needs?.includes(what));
export const underWay = () => Boolean(live.state?.run && live.state.run.state !== "ended");
export const operator = () => live.state?.lease?.operator || null;
export const canDrive = () => live.connected && (live.mine || !operator());

// Why nothing can be started now; "" when it can.
export function whyNot() {
  if (!live.connected) return "The line to the studio is cut";
  if (!canDrive()) return `${operator().name} drives; take over first`;
  const open = (live.state?.checks || []).find((check) => check.state === "bad" || check.state === "ask");
  return open ? `${open.title}: ${open.text}` : "";
}
