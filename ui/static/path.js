// The end-effector path in three dimensions on a canvas: recorded solid, said in words dashed, one colour per subtask, the
// current step as a dot. Drag turns it, the wheel zooms, a click goes to the nearest step; the view stays when labels change.
import { h, fill } from "./dom.js";
import { on, selectSpan, setStep, spanAt, state } from "./store.js";

const COLOURS = 8; // --path-0 … --path-7 of the style sheet
const START = { turn: -0.9, tilt: 0.5, zoom: 1 };

export function makePath() {
  const canvas = h("canvas", { class: "vs-path-canvas", tabindex: "0", role: "img", "aria-label": "End-effector path in three dimensions", title: "Drag to turn, wheel to zoom, click to go to a step, double-click to reset" });
  const legend = h("div", { class: "vs-path-legend" });
  
  const element = h("section", { class: "vs-path", "aria-label": "Path" }, h("header", {}, h("b", {}, "Path"), h("span", { class: "vs-key" }, h("i", { class: "solid" }), "recorded", h("i", { class: "dashed" }), "said")), canvas, legend);
  const camera = { ...START };
  let box = null, queued = false, colours = null;

  function frame() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; draw(); });
  }

  function measure() {
    const points = [...state.view.path.recorded, ...state.view.path.said.flatMap((each) => each.points)];
    const low = [0, 1, 2].map((axis) => Math.min(...points.map((point) => point[axis])));
    const high = [0, 1, 2].map((axis) => Math.max(...points.map((point) => point[axis])));
    const size = Math.max(4, ...[0, 1, 2].map((axis) => high[axis] - low[axis]));
    const centre = [0, 1, 2].map((axis) => (low[axis] + high[axis]) / 2);
    const radius = Math.max(2, ...points.map((point) => Math.hypot(...point.map((value, axis) => value - centre[axis]))));
    return { centre, radius, floor: low[2] - size * 0.08, size };
  }

  // Centimetres to pixels, seen from the turned and tilted camera, without perspective.
  function projector(width, height) {
    const scale = ((0.4 * Math.min(width, height)) / box.radius) * camera.zoom;
    const [cosTurn, sinTurn, cosTilt, sinTilt] = [Math.cos(camera.turn), Math.sin(camera.turn), Math.cos(camera.tilt), Math.sin(camera.tilt)];
    return (point) => {
      const [x, y, z] = point.map((value, axis) => value - box.centre[axis]);
      const across = x * sinTurn - y * cosTurn, depth = x * cosTurn + y * sinTurn;
      return [width / 2 + across * scale, height / 2 - (z * cosTilt + depth * sinTilt) * scale];
    };
  }

  function line(context, points, colour, { dashed = false, width = 2 } = {}) {
    if (points.length < 2) return;
    context.beginPath();
    points.forEach((point, index) => (index ? context.lineTo(...point) : context.moveTo(...point)));
    context.setLineDash(dashed ? [5, 4] : []);
    Object.assign(context, { strokeStyle: colour, lineWidth: width, lineJoin: "round" });
    context.stroke();
    context.setLineDash([]);
  }

  function draw() {
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    const density = Math.min(2, devicePixelRatio || 1);
    Object.assign(canvas, { width: width * density, height: height * density });
    if (!state.view?.path.recorded.length) return;
    const context = canvas.getContext("2d");
    context.scale(density, density);
    box ||= measure();
    colours ||= readColours(element);
    const project = projector(width, height);
    drawFloor(context, project);
    drawPaths(context, project);
    const [x, y] = project(state.view.path.recorded[state.step]);
    line(context, [project(state.view.path.recorded[state.step]), project([...state.view.path.recorded[state.step].slice(0, 2), box.floor])], colours.faint, { width: 1 });
    context.beginPath();
    context.arc(x, y, 5, 0, Math.PI * 2);
    Object.assign(context, { fillStyle: colours.head, strokeStyle: colours.paper, lineWidth: 2 });
    context.fill();
    context.stroke();
  }

  function drawFloor(context, project) {
    const step = [1, 2, 5, 10, 20, 50].find((size) => box.size / size <= 6) || 100;
    const start = (axis) => Math.floor((box.centre[axis] - box.size * 0.6) / step) * step;
    const count = Math.ceil((box.size * 1.2) / step) + 1;
    const [x0, y0] = [start(0), start(1)];
    for (let index = 0; index <= count; index++) {
      line(context, [project([x0 + index * step, y0, box.floor]), project([x0 + index * step, y0 + count * step, box.floor])], colours.rule, { width: 1 });
      line(context, [project([x0, y0 + index * step, box.floor]), project([x0 + count * step, y0 + index * step, box.floor])], colours.rule, { width: 1 });
    }
    Object.assign(context, { font: "11px system-ui, sans-serif", fillStyle: colours.faint, textAlign: "left" });
    context.fillText(`grid ${step} cm`, 8, canvas.clientHeight - 8);
    drawAxes(context, project);
  }

  // Which way is forward: three short arrows in the corner, turned like the path.
  function drawAxes(context, project) {
    const zero = project(box.centre), corner = [canvas.clientWidth - 52, canvas.clientHeight - 34];
    context.textAlign = "center";
    for (const [name, axis] of [["forward", 0], ["left", 1], ["up", 2]]) {
      const tip = project(box.centre.map((value, index) => value + (index === axis ? box.radius : 0)));
      const length = 24 / ((0.4 * Math.min(canvas.clientWidth, canvas.clientHeight)) * camera.zoom);
      const end = tip.map((value, index) => corner[index] + (value - zero[index]) * length);
      line(context, [corner, end], colours.faint, { width: 1.5 });
      context.fillText(name, corner[0] + (end[0] - corner[0]) * 1.5, corner[1] + (end[1] - corner[1]) * 1.5 + 3);
    }
  }

  function drawPaths(context, project) {
    const { recorded, said } = state.view.path;
    const shadow = recorded.map((point) => project([point[0], point[1], box.floor]));
    line(context, shadow, colours.rule, { width: 2 });
    line(context, recorded.map(project), colours.faint, { width: 1.5 });
    state.view.spans.forEach((span, index) => {
      const chosen = span.uid === state.span;
      const colour = colours.paths[index % COLOURS];
      line(context, recorded.slice(span.start, span.end + 1).map(project), colour, { width: chosen ? 4 : 2 });
      const words = said.find((each) => each.uid === span.uid);
      if (words) line(context, words.points.map(project), colour, { dashed: true, width: chosen ? 2.5 : 1.5 });
    });
  }

  function drawLegend() {
    const spans = state.view?.spans || [];
    fill(legend, spans.map((span, index) => h("button", { type: "button", class: span.uid === state.span ? "on" : "", title: span.text, onclick: () => selectSpan(span.uid, { seek: true }) },
      h("i", { style: `background: var(--path-${index % COLOURS})` }), h("span", {}, String(index + 1)), h("em", {}, span.chunk_error_cm === null || span.chunk_error_cm === undefined ? "–" : `${span.chunk_error_cm.toFixed(1)} cm`))));
    if (spans.length) legend.prepend(h("span", { title: "Distance between where the words end and where the robot ended, per subtask" }, "error"));

  }

  let grabbed = null;
  canvas.addEventListener("pointerdown", (event) => {
    grabbed = { x: event.clientX, y: event.clientY, ...camera, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grabbed) return;
    const [across, down] = [event.clientX - grabbed.x, event.clientY - grabbed.y];
    if (Math.abs(across) + Math.abs(down) > 3) grabbed.moved = true;
    camera.turn = grabbed.turn - across * 0.01;
    camera.tilt = Math.max(-0.2, Math.min(Math.PI / 2, grabbed.tilt + down * 0.01));
    frame();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (grabbed && !grabbed.moved && state.view && box) goNearest(event);
    grabbed = null;
  });
  canvas.addEventListener("dblclick", () => { Object.assign(camera, START); frame(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.zoom = Math.max(0.4, Math.min(8, camera.zoom * Math.exp(-event.deltaY * 0.0015)));
    frame();
  }, { passive: false });

  function goNearest(event) {
    const project = projector(canvas.clientWidth, canvas.clientHeight);
    const distances = state.view.path.recorded.map((point) => {
      const [x, y] = project(point);
      return Math.hypot(x - event.offsetX, y - event.offsetY);
    });
    const nearest = distances.indexOf(Math.min(...distances));
    if (distances[nearest] > 30) return;
    setStep(nearest);
    selectSpan(spanAt(nearest)?.uid);
  }

  on("view", ({ fresh } = {}) => { if (fresh) box = null; drawLegend(); frame(); });
  on("span", () => { drawLegend(); frame(); });
  on("step", frame);
  on("theme", () => { colours = null; frame(); });
  new ResizeObserver(frame).observe(canvas);
  return { element };
}

function readColours(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    rule: read("--rule"), faint: read("--faint"), head: read("--head"), paper: read("--paper"),
    paths: Array.from({ length: COLOURS }, (_, index) => read(`--path-${index}`)),
  };
}
