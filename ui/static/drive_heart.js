// A worker: the pulse of the Drive page. Browsers slow the timers of a page in the background and stop its scripts while it draws;
// a worker's timers go on. Each pulse asks the page for its sign of life; while the page is late with it the worker gives one
// itself, for a while: whoever drives on a page that hangs is gone. A closed page takes its worker along.
const PULSE_MS = 500;
const PAGE_LATE_MS = 1200, PAGE_GONE_MS = 6000; // since the page last answered

let operator = null, answered = performance.now(), sending = false;

onmessage = ({ data }) => {
  operator = data.operator; // {client, reviewer} while this page drives, else null
  answered = performance.now();
};

setInterval(async () => {
  postMessage("pulse");
  const late = performance.now() - answered;
  if (!operator || sending || late < PAGE_LATE_MS || late > PAGE_GONE_MS) return;
  sending = true;
  try {
    await fetch("/drive/beat", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(operator), signal: AbortSignal.timeout(PAGE_GONE_MS) });
  } catch {
    // The next pulse tries again.
  }
  sending = false;
}, PULSE_MS);
