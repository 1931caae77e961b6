// Play, pause and scrub, for one replayed run or two beside each other.
import { button, fill, h, icon } from "./dom.js";

export function makeScrubber(playback) {
  const play = button(icon("play"), "P", () => playback().toggle(), { class: "play", title: "Play or pause (P)", "aria-label": "Play or pause" });
  const slider = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Step of the run", oninput: () => playback().set(Number(slider.value)) });
  const time = h("output", {});
  const jump = (by, name, title) => button(icon(name), "", () => playback().by(by), { class: "icon", title, "aria-label": title });
  const element = h("div", { class: "vs-transport vs-scrubber" }, jump(-1e9, "first", "First step"), jump(-1, "back", "One step back (←)"), play, jump(1, "on", "One step on (→)"), jump(1e9, "last", "Last step"), slider, time);
  return {
    element,
    draw: (step, count, seconds, playing) => {
      slider.max = Math.max(0, count - 1);
      slider.value = step;
      fill(time, count ? `step ${step + 1} of ${count} · ${seconds.toFixed(1)} s` : "no steps");
      play.firstChild.replaceWith(icon(playing ? "pause" : "play"));
      element.dataset.step = String(step);
    },
  };
}
