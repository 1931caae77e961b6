// The end-effector path of a run: what the robot did solid, what the words asked dashed, what is asked right now dotted ahead.
import { h } from "./dom.js";
import { makeSpace } from "./space.js";
import { on } from "./store.js";

// list: () => [{run, upTo?, name?}]: one run, or two to compare.
export function makeRunPath(list) {
  const space = makeSpace({
    label: "End-effector path: what the robot did, and what the words asked", title: "Drag to turn, wheel to zoom, double-click to reset",
    points: () => list().flatMap(({ run }) => [...run.path.did, ...run.path.said.flat(), ...(run.path.preview || [])]), paint,
  });
  const hint = h("p", { class: "vs-path-empty vs-dim" }, "The path appears when the robot moves.");
  const element = h("section", { class: "vs-path", "aria-label": "Path" }, h("header", {}, h("b", {}, "Path"),
    h("span", { class: "vs-key" }, h("i", { class: "solid" }), "did", h("i", { class: "dashed" }), "asked in words")), space.canvas, hint);
  let drawn = "";

  function paint({ line, dot, floor, colours }) {
    list().forEach(({ run, upTo = run.path.did.length - 1 }, index) => {
      const { did, said, preview } = run.path, colour = index ? colours.paths[1] : colours.paths[0];
      const here = did[Math.min(upTo, did.length - 1)];
      line(did.map(([x, y]) => [x, y, floor]), colours.rule);
      if (upTo < did.length - 1) line(did.slice(upTo), colours.rule, { width: 2 });
      line(did.slice(0, upTo + 1), colour, { width: 2.5 });
      for (const words of said) line(words, colours.action, { dashed: true, width: 1.75 });
      if (preview) { line(preview, colours.action, { dashed: true, width: 3 }); dot(preview.at(-1), colours.action); }
      if (!here) return;
      line([here, [here[0], here[1], floor]], colours.faint, { width: 1 });
      dot(here, colours.head);
    });
  }

  function draw() {
    const runs = list(), key = runs.map(({ run }) => `${run.id}/${run.path.did.length}/${run.path.said.length}/${run.path.preview?.at(-1)}`).join();
    hint.hidden = runs.some(({ run }) => run.path.did.length > 0);
    if (key !== drawn) { drawn = key; space.fit(); } else space.frame();
  }

  on("theme", space.recolour);
  return { element, draw };
}
