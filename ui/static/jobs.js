// Long work on the server: started here, watched until it ends, shown with a way to stop it. One at a time for the studio.
import { button, fill, h, notice } from "./dom.js";
import { call, emit, loadQueue, on, state } from "./store.js";

const EVERY_MS = 300;

// Start a job and resolve to how it ended: {state: "done" | "stopped" | "failed", report, error}.
export async function runJob(name, args) {
  const answer = await call(name, args);
  return answer.error ? { state: "failed", error: answer.error, report: null } : watch(answer.ok);
}

// Somebody may have started one before this page was opened.
export async function resumeJob() {
  const { ok } = await call("job");
  if (ok?.state === "running") await watch(ok);
}

async function watch(job) {
  while (job.state === "running") {
    state.job = job;
    emit("job");
    await new Promise((resolve) => { setTimeout(resolve, EVERY_MS); });
    const answer = await call("job");
    job = answer.error ? { ...job, state: "failed", error: answer.error } : answer.ok;
  }
  state.job = null;
  emit("job");
  if (job.state === "stopped") notice(`${job.name}: stopped; what was done is kept.`);
  await loadQueue();
  return job;
}

export function jobBar() {
  const text = h("span", {}), bar = h("i", {});
  const element = h("div", { class: "vs-job", role: "status", hidden: true }, h("div", {}, text, button("Stop", "", () => call("stop_job"), { class: "small" })), h("div", { class: "vs-progress" }, bar));
  on("job", () => {
    const job = state.job;
    element.hidden = !job;
    if (!job) return;
    fill(text, `${job.name} ${job.done || ""}${job.total ? ` of ${job.total}` : ""}`);
    bar.className = job.total ? "accepted" : "unknown";
    bar.style.width = job.total ? `${(100 * job.done) / job.total}%` : "100%";
  });
  return element;
}
