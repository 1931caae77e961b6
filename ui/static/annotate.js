// Starts the Annotate tab when its three components are on the page.
import { startConflicts } from "./conflict.js";
import { notice } from "./dom.js";
import { startKeys } from "./keys.js";
import { resumeJob } from "./jobs.js";
import { keepLink, readLink } from "./link.js";
import { loadQueue, on, openEpisode, state } from "./store.js";

let started = false;

export async function startAnnotate() {
  if (started) return;
  started = true;
  on("problem", (text) => notice(text, "bad"));
  on("busy", (working) => document.documentElement.classList.toggle("vs-working", working));
  addEventListener("beforeunload", (event) => {
    document.activeElement?.blur(); // a text that is being typed is saved too
    if (state.saving || state.conflict) event.preventDefault();
  });
  startKeys();
  startConflicts();
  const wanted = readLink();
  keepLink();
  const opened = wanted.episode ? openEpisode(wanted.episode, wanted) : null;
  resumeJob();
  await Promise.all([loadQueue(), opened]);
  if (!wanted.episode && state.queue.rows.length) openEpisode(state.queue.rows[0].id);
}
