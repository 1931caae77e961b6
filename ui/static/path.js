// The end-effector path of the open episode: recorded solid, said in words dashed, one colour per subtask, the current step as
// a dot. A click goes to the nearest step.
import { h, fill } from "./dom.js";
import { makeSpace, nearest } from "./space.js";
import { on, selectSpan, setStep, spanAt, state } from "./store.js";

export function makePath() {
  const space = makeSpace({
    label: "End-effector path in three dimensions", title: "Drag to turn, wheel to zoom, click to go to a step, double-click to reset",
    points: () => (state.view?.path.recorded.length ? [...state.view.path.recorded, ...state.view.path.said.flatMap((each) => each.points)] : []),
    paint: drawPaths, pick: goNearest,
  });
  const legend = h("div", { class: "vs-path-legend" });
  const element = h("section", { class: "vs-path", "aria-label": "Path" }, h("header", {}, h("b", {}, "Path"), h("span", { class: "vs-key" }, h("i", { class: "solid" }), "recorded", h("i", { class: "dashed" }), "said")), space.canvas, legend);

  function drawPaths({ line, dot, floor, colours }) {
    const { recorded, said } = state.view.path;
    line(recorded.map(([x, y]) => [x, y, floor]), colours.rule);
    line(recorded, colours.faint, { width: 1.5 });
    state.view.spans.forEach((span, index) => {
      const chosen = span.uid === state.span;
      const colour = colours.paths[index % colours.paths.length];
      line(recorded.slice(span.start, span.end + 1), colour, { width: chosen ? 4 : 2 });
      const words = said.find((each) => each.uid === span.uid);
      if (words) line(words.points, colour, { dashed: true, width: chosen ? 2.5 : 1.5 });
    });
    const here = recorded[state.step];
    line([here, [here[0], here[1], floor]], colours.faint, { width: 1 });
    dot(here, colours.head);
  }

  function goNearest(pen, event) {
    const step = nearest(pen, state.view.path.recorded, event);
    if (step < 0) return;
    setStep(step);
    selectSpan(spanAt(step)?.uid);
  }

  function drawLegend() {
    const spans = state.view?.spans || [];
    fill(legend, spans.map((span, index) => h("button", { type: "button", class: span.uid === state.span ? "on" : "", title: span.text, onclick: () => selectSpan(span.uid, { seek: true }) },
      h("i", { style: `background: var(--path-${index % 8})` }), h("span", {}, String(index + 1)), h("em", {}, span.chunk_error_cm === null || span.chunk_error_cm === undefined ? "–" : `${span.chunk_error_cm.toFixed(1)} cm`))));
    if (spans.length) legend.prepend(h("span", { title: "Distance between where the words end and where the robot ended, per subtask" }, "error"));
  }

  on("view", ({ fresh } = {}) => { if (fresh) space.fit(); drawLegend(); space.frame(); });
  on("span", () => { drawLegend(); space.frame(); });
  on("step", space.frame);
  on("theme", space.recolour);
  return { element };
}
