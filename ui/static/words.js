// Word differences between two texts, for answers, histories and conflicts. However long they are, nothing is left out.
import { h } from "./dom.js";

const WINDOW = 400;

// [{kind: "same" | "gone" | "new", text}], by longest common subsequence of words.
export function wordDiff(was, now) {
  const a = split(was), b = split(now), parts = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    // Long texts are compared piece by piece: all up to the last word that both have is settled, the rest is seen again.
    const steps = compare(a.slice(i, i + WINDOW), b.slice(j, j + WINDOW)), last = steps.findLastIndex(([kind]) => kind === "same");
    const whole = i + WINDOW >= a.length && j + WINDOW >= b.length;
    for (const [kind, text] of whole || last < 0 ? steps : steps.slice(0, last + 1)) {
      if (kind !== "new") i++;
      if (kind !== "gone") j++;
      if (parts.at(-1)?.kind === kind) parts.at(-1).text += text;
      else parts.push({ kind, text });
    }
  }
  return parts;
}

// Steps from one list of words to the other: [kind, word].
function compare(a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1)), steps = [];
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  }
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { steps.push(["same", a[i]]); i++; j++; }
    else if (i < a.length && (j === b.length || table[i + 1][j] >= table[i][j + 1])) steps.push(["gone", a[i++]]);
    else steps.push(["new", b[j++]]);
  }
  return steps;
}

const split = (text) => String(text ?? "").match(/\s+|[^\s]+/g) || [];

const TAGS = { same: "span", gone: "del", new: "ins" };

export function diffNode(was, now) {
  return h("span", { class: "vs-diff" }, wordDiff(was, now).map((part) => h(TAGS[part.kind], {}, part.text)));
}
