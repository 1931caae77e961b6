// A finished run again: a cursor over its steps, with the pictures, the trace, the path and the gauges as they were then.
import { makeCameras, stepFeed } from "./drive_cameras.js";
import { apply, emptyRun } from "./drive_run.js";
import { get } from "./drive_live.js";

// A loaded run: {info, records, steps, cameras}; throws with a sentence when it cannot be had.
export async function loadRun(id) {
  const answer = await get(`/drive/runs/${encodeURIComponent(id)}`);
  if (answer.error) throw new Error(answer.error);
  const { run, records, steps, cameras, joints } = answer;
  return { id, info: { ...run, id }, records, steps, joints, cameras: cameras.map((camera) => (camera.name ? camera : { name: camera, title: camera })) };
}

// The state of a run at a time: going on adds records, going back begins again.
export function makeCursor(loaded) {
  let run = emptyRun(loaded.info), done = 0, step = 0;

  function seek(next) {
    step = Math.max(0, Math.min(loaded.steps.length - 1, next));
    const last = step === loaded.steps.length - 1, until = loaded.steps[step]?.at ?? Infinity;
    if (done && loaded.records[done - 1].at > until) [run, done] = [emptyRun(loaded.info), 0];
    while (done < loaded.records.length && (last || loaded.records[done].at <= until)) apply(run, loaded.records[done++]);
    return run;
  }

  return { seek, run: () => run, step: () => step, count: () => loaded.steps.length, seconds: (at = step) => (loaded.steps[at]?.at ?? 0) - (loaded.steps[0]?.at ?? 0), all: () => loaded.records.reduce(apply, emptyRun(loaded.info)) };
}

// Pictures of a run at a step.
export function replayCameras(loaded) {
  const cameras = makeCameras(), feed = stepFeed(loaded.id);
  if (loaded.steps.length) cameras.show(loaded.cameras, feed.feed);
  else cameras.nothing("Nothing moved in this run, so there are no pictures.");
  return { element: cameras.element, next: cameras.next, draw: (step) => { feed.at(step); if (loaded.steps.length) feed.feed(cameras.views()); } };
}

// Plays at the recorded times. seconds(step) of the longest run; at(step) draws.
export function makePlayback({ count, seconds, at, changed }) {
  let step = 0, playing = false, began = 0, from = 0;

  function tick(time) {
    if (!playing) return;
    const due = from + (time - began) / 1000;
    let next = step;
    while (next < count() - 1 && seconds(next + 1) <= due) next++;
    if (next !== step) set(next);
    if (step >= count() - 1) toggle(false);
    else requestAnimationFrame(tick);
  }

  function set(next) {
    step = Math.max(0, Math.min(count() - 1, next));
    at(step);
    changed(step, playing);
  }

  function toggle(wanted = !playing) {
    playing = wanted && count() > 1;
    if (playing) {
      if (step >= count() - 1) set(0);
      [began, from] = [performance.now(), seconds(step)];
      requestAnimationFrame(tick);
    }
    changed(step, playing);
  }

  return { set: (next) => { toggle(false); set(next); }, by: (count_) => { toggle(false); set(step + count_); }, toggle, step: () => step };
}
