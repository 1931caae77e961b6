// The picture: fetches the frames of one camera ahead, decodes a bounded number of them, shows exactly the step asked for, and
// plays at the recording's true rate.
import { h, fill } from "./dom.js";
import { call, emit, on, setStep, spanOf, state } from "./store.js";

const AHEAD = 4; // frames fetched at the same time
const DECODED_BYTES = 160e6;
export const SPEEDS = [0.25, 0.5, 1, 2, 4];

export function makePlayer() {
  const canvas = h("canvas", { class: "vs-frame", width: 320, height: 240, role: "img" });
  const veil = h("div", { class: "vs-veil" }, "Loading frames…");
  const caption = h("div", { class: "vs-caption" });
  const element = h("div", { class: "vs-player" }, canvas, veil, caption);
  const context = canvas.getContext("2d");
  let frames = new Map(); // step -> ImageBitmap, oldest first
  let loading = new Map();
  let source = "", generation = 0, keep = 64, shown = -1;

  const address = (step) => `/media/${encodeURIComponent(state.view.id)}/${encodeURIComponent(state.camera)}/${step}.jpg`;

  function reset() {
    const wanted = state.view && state.camera ? `${state.view.id}/${state.camera}` : "";
    if (wanted === source) return;
    source = wanted;
    generation += 1;
    shown = -1;
    for (const frame of frames.values()) frame.close();
    frames = new Map();
    loading = new Map();
    veil.hidden = false;
    fill(veil, state.view && !state.camera ? "This episode has no camera." : "Loading frames…");
    if (source) fetchAhead(generation);
  }

  function load(step) {
    if (frames.has(step)) return Promise.resolve(frames.get(step));
    if (loading.has(step)) return loading.get(step);
    const mine = generation;
    const promise = fetch(address(step)).then(async (response) => {
      if (!response.ok) throw new Error(await response.text());
      return createImageBitmap(await response.blob());
    }).then((frame) => {
      if (mine !== generation) { frame.close(); return null; }
      loading.delete(step);
      remember(step, frame);
      return frame;
    }).catch((error) => {
      if (mine === generation) loading.delete(step);
      throw error;
    });
    loading.set(step, promise);
    return promise;
  }

  function remember(step, frame) {
    keep = Math.max(16, Math.floor(DECODED_BYTES / (frame.width * frame.height * 4)));
    frames.set(step, frame);
    for (const old of frames.keys()) {
      if (frames.size <= keep) break;
      if (old === step) continue;
      frames.get(old).close();
      frames.delete(old);
    }
  }

  // From the current step to the end, then the beginning; long episodes only as far as the memory bound goes.
  async function fetchAhead(mine) {
    const total = state.view.steps, first = state.step;
    let next = 0;
    const work = async () => {
      while (next < Math.min(total, keep)) {
        const step = (first + next++) % total;
        if (mine !== generation) return;
        await load(step).catch(() => {});
      }
    };
    await Promise.all(Array.from({ length: AHEAD }, work));
  }

  async function draw() {
    if (!state.view) return;
    const step = state.step, mine = generation;
    const seconds = (step / state.view.rate_hz).toFixed(1);
    fill(caption, `${source ? "frame" : "step"} ${step + 1} of ${state.view.steps} · ${seconds} s`);
    if (!source) return;
    try {
      const frame = frames.get(step) || (await load(step));
      if (mine !== generation || step !== state.step || !frame) return;
      if (canvas.width !== frame.width || canvas.height !== frame.height) Object.assign(canvas, { width: frame.width, height: frame.height });
      context.drawImage(frame, 0, 0);
      shown = step;
      canvas.dataset.step = String(step);
      canvas.setAttribute("aria-label", `Camera ${state.camera}, frame ${step + 1} of ${state.view.steps}`);
      veil.hidden = true;
    } catch (error) {
      if (mine !== generation || step !== state.step) return;
      veil.hidden = false;
      fill(veil, error.message.slice(0, 200) || "This frame cannot be read.");
    }
  }

  on("view", () => { reset(); draw(); });
  on("camera", () => { call("prefetch", { episode: state.view.id, camera: state.camera }); reset(); draw(); });
  on("step", draw);
  return { element, draw, shown: () => shown };
}

// Playing: advances state.step by the recording's clock.
export function makeClock() {
  let last = 0, carried = 0, loop = false, speed = 1;

  function tick(now) {
    if (!state.playing || !state.view) return;
    // A frame's time can lie before the click that started the clock.
    carried += (Math.max(0, now - last) / 1000) * state.view.rate_hz * speed;
    last = Math.max(last, now);
    const whole = Math.floor(carried);
    carried -= whole;
    if (whole) advance(whole);
    if (state.playing) requestAnimationFrame(tick);
  }

  function advance(count) {
    const span = loop && spanOf(state.span);
    const [start, end] = span ? [span.start, span.end] : [0, state.view.steps];
    let step = state.step + count;
    if (span && (step >= end || step < start)) step = start;
    if (step >= end) { step = end - 1; toggle(false); }
    setStep(step);
  }

  function toggle(playing = !state.playing) {
    if (!state.view || playing === state.playing) return;
    state.playing = playing;
    if (playing) {
      if (!loop && state.step >= state.view.steps - 1) setStep(0);
      last = performance.now();
      carried = 0;
      requestAnimationFrame(tick);
    }
    emit("playing");
  }

  return {
    toggle,
    loop: () => loop,
    setLoop: (value) => { loop = value; emit("playing"); },
    speed: () => speed,
    setSpeed: (value) => { speed = value; emit("playing"); },
  };
}
