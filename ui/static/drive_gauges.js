// Where the joints and the end-effector are: a bar per joint between its limits, the gripper hollow or solid, x y z in centimetres.
import { fill, h } from "./dom.js";
import { truthNode } from "./drive_end.js";
import { OPEN_FROM, jointText } from "./drive_numbers.js";

const GRIPPER = { name: "gripper", title: "gripper", unit: "", low: 0, high: 1 };
const WAYS = [["x", "reach, away from the robot"], ["y", "left, along the driven way"], ["z", "up"]];

export function makeGauges() {
  const place = h("div", { class: "vs-place" }), bars = h("div", { class: "vs-bars" }), foot = h("div", {});
  const element = h("section", { class: "vs-gauges", "aria-label": "Gauges" }, h("header", {}, h("b", {}, "Joints"), place), bars, foot);
  let drawn = "", last = "", rows = [];

  function prepare(joints) {
    const key = joints.map((joint) => joint.name).join();
    if (key === drawn) return;
    drawn = key;
    last = "";
    rows = joints.map((joint) => {
      const mark = h("i", {}), value = h("output", {});
      const grip = joint === GRIPPER;
      const node = h("div", { class: `vs-gauge ${grip ? "grip" : ""}`, title: grip ? "Opening of the gripper; hollow: open, solid: closed" : `${joint.title}: ${jointText(joint.low, joint.unit)} to ${jointText(joint.high, joint.unit)}` },
        h("span", {}, joint.title), h("div", { class: "vs-gauge-bar" }, mark), value);
      return { joint, node, mark, value };
    });
    fill(bars, rows.map((row) => row.node));
  }

  // joints: [{name, title, unit, low, high}]; pose: {ee, joints} or null; truth: what the simulator knows, or null.
  function draw(joints, pose, truth = null) {
    prepare(joints?.length ? [...joints.filter((joint) => joint.name !== "gripper"), GRIPPER] : []);
    const key = JSON.stringify([pose, truth]);
    if (key === last) return;
    last = key;
    fill(place, WAYS.map(([axis, title], index) => h("span", { title }, `${axis} `, h("b", {}, pose ? (pose.ee[index] * 100).toFixed(1) : "–"))), "cm");
    fill(foot, truthNode(truth));
    for (const { joint, node, mark, value } of rows) {
      const at = joint === GRIPPER ? pose?.ee[6] : pose?.joints?.[joint.name];
      const share = at === undefined ? 0 : Math.max(0, Math.min(1, (at - joint.low) / (joint.high - joint.low)));
      node.classList.toggle("edge", at !== undefined && (share < 0.02 || share > 0.98) && joint !== GRIPPER);
      mark.style.transform = `translateX(${(100 * share).toFixed(2)}%)`;
      mark.hidden = at === undefined;
      fill(value, joint === GRIPPER && pose ? (pose.ee[6] >= OPEN_FROM ? "○ open" : "● closed") : jointText(at, joint.unit));
    }
  }

  return { element, draw };
}
