// Paths in three dimensions on a canvas, without perspective. Drag turns it, the wheel zooms, a double click resets; the view
// stays when the paths change. Knows centimetres and colours, not what a path means.
import { h } from "./dom.js";

const COLOURS = 8; // --path-0 … --path-7 of the style sheet
const NAMED = ["rule", "faint", "head", "paper", "ink", "subtask", "plan", "action", "bad"];
const START = { turn: -0.9, tilt: 0.5, zoom: 1 };
const SHARE = 0.4; // of the smaller side, for the radius of everything

// points: () => [[x, y, z] cm, …] that must fit; paint: (pen) draws; pick: (pen, event) answers a click. Both optional.
export function makeSpace({ label, title, points, paint, pick }) {
  const canvas = h("canvas", { class: "vs-path-canvas", tabindex: "0", role: "img", "aria-label": label, title });
  const camera = { ...START };
  let box = null, queued = false, colours = null;

  function frame() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; draw(); });
  }

  const scale = () => ((SHARE * Math.min(canvas.clientWidth, canvas.clientHeight)) / box.radius) * camera.zoom;

  // Centimetres to pixels, seen from the turned and tilted camera.
  function projector() {
    const { clientWidth: width, clientHeight: height } = canvas, size = scale();
    const [cosTurn, sinTurn, cosTilt, sinTilt] = [Math.cos(camera.turn), Math.sin(camera.turn), Math.cos(camera.tilt), Math.sin(camera.tilt)];
    return (point) => {
      const [x, y, z] = box.centre.map((value, axis) => point[axis] - value);
      const across = x * sinTurn - y * cosTurn, depth = x * cosTurn + y * sinTurn;
      return [width / 2 + across * size, height / 2 - (z * cosTilt + depth * sinTilt) * size];
    };
  }

  function pen() {
    const context = canvas.getContext("2d"), project = projector();
    const line = (list, colour, { dashed = false, width = 2 } = {}) => stroke(context, list.map(project), colour, { dashed, width });
    return { context, project, colours, floor: box.floor, line, dot: (point, colour) => dot(context, project(point), colour, colours.paper) };
  }

  function draw() {
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    const density = Math.min(2, devicePixelRatio || 1);
    Object.assign(canvas, { width: width * density, height: height * density });
    const all = points();
    if (!all.length) return;
    box ||= measure(all);
    colours ||= readColours(canvas);
    canvas.getContext("2d").scale(density, density);
    const tools = pen();
    floor(tools, box);
    axes(tools, box, canvas, scale());
    paint(tools);
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
    if (grabbed && !grabbed.moved && box && pick) pick(pen(), event);
    grabbed = null;
  });
  canvas.addEventListener("dblclick", () => { Object.assign(camera, START); frame(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.zoom = Math.max(0.4, Math.min(8, camera.zoom * Math.exp(-event.deltaY * 0.0015)));
    frame();
  }, { passive: false });
  new ResizeObserver(frame).observe(canvas);

  return {
    canvas, frame,
    fit: () => { box = null; frame(); }, // other paths: another size
    recolour: () => { colours = null; frame(); },
  };
}

// Index of the projected point nearest to a click, or -1 when it is farther away than `within` pixels.
export function nearest({ project }, list, event, within = 30) {
  const distances = list.map((point) => {
    const [x, y] = project(point);
    return Math.hypot(x - event.offsetX, y - event.offsetY);
  });
  const index = distances.indexOf(Math.min(...distances));
  return distances[index] > within ? -1 : index;
}

function measure(all) {
  const low = [0, 1, 2].map((axis) => Math.min(...all.map((point) => point[axis])));
  const high = [0, 1, 2].map((axis) => Math.max(...all.map((point) => point[axis])));
  const size = Math.max(4, ...[0, 1, 2].map((axis) => high[axis] - low[axis]));
  const centre = [0, 1, 2].map((axis) => (low[axis] + high[axis]) / 2);
  const radius = Math.max(2, ...all.map((point) => Math.hypot(...point.map((value, axis) => value - centre[axis]))));
  return { centre, radius, floor: low[2] - size * 0.08, size };
}

function stroke(context, points, colour, { dashed, width }) {
  if (points.length < 2) return;
  context.beginPath();
  points.forEach((point, index) => (index ? context.lineTo(...point) : context.moveTo(...point)));
  context.setLineDash(dashed ? [5, 4] : []);
  Object.assign(context, { strokeStyle: colour, lineWidth: width, lineJoin: "round" });
  context.stroke();
  context.setLineDash([]);
}

function dot(context, [x, y], fillStyle, strokeStyle) {
  context.beginPath();
  context.arc(x, y, 5, 0, Math.PI * 2);
  Object.assign(context, { fillStyle, strokeStyle, lineWidth: 2 });
  context.fill();
  context.stroke();
}

function floor({ context, line, colours }, box) {
  const step = [1, 2, 5, 10, 20, 50].find((size) => box.size / size <= 6) || 100;
  const start = (axis) => Math.floor((box.centre[axis] - box.size * 0.6) / step) * step;
  const count = Math.ceil((box.size * 1.2) / step) + 1;
  const [x0, y0, z] = [start(0), start(1), box.floor];
  for (let index = 0; index <= count; index++) {
    line([[x0 + index * step, y0, z], [x0 + index * step, y0 + count * step, z]], colours.rule, { width: 1 });
    line([[x0, y0 + index * step, z], [x0 + count * step, y0 + index * step, z]], colours.rule, { width: 1 });
  }
  Object.assign(context, { font: "11px system-ui, sans-serif", fillStyle: colours.faint, textAlign: "left" });
  context.fillText(`grid ${step} cm`, 8, context.canvas.clientHeight - 8);
}

// Which way is forward: three short arrows in the corner, turned like the path.
function axes({ context, project, colours }, box, canvas, size) {
  const zero = project(box.centre), corner = [canvas.clientWidth - 52, canvas.clientHeight - 34];
  context.textAlign = "center";
  for (const [name, axis] of [["forward", 0], ["left", 1], ["up", 2]]) {
    const tip = project(box.centre.map((value, index) => value + (index === axis ? 24 / size : 0)));
    const end = tip.map((value, index) => corner[index] + value - zero[index]);
    stroke(context, [corner, end], colours.faint, { width: 1.5 });
    context.fillText(name, corner[0] + (end[0] - corner[0]) * 1.5, corner[1] + (end[1] - corner[1]) * 1.5 + 3);
  }
}

function readColours(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ...Object.fromEntries(NAMED.map((name) => [name, read(`--${name}`)])), paths: Array.from({ length: COLOURS }, (_, index) => read(`--path-${index}`)) };
}
