// Word differences between two texts, for histories and conflicts.
import { h } from "./dom.js";

const MAX_WORDS = 400;

// [{kind: "same" | "gone" | "new", text}], by longest common subsequence of words.
export function wordDiff(was, now) {
  const a = split(was), b = split(now);
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const parts = [];
  const push = (kind, text) => {
    const last = parts[parts.length - 1];
    if (last && last.kind === kind) last.text += text;
    else parts.push({ kind, text });
  };
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { push("same", a[i]); i++; j++; }
    else if (i < a.length && (j === b.length || table[i + 1][j] >= table[i][j + 1])) push("gone", a[i++]);
    else push("new", b[j++]);
  }
  return parts;
}

const split = (text) => (String(text ?? "").match(/\s+|[^\s]+/g) || []).slice(0, MAX_WORDS);

const TAGS = { same: "span", gone: "del", new: "ins" };

export function diffNode(was, now) {
  return h("span", { class: "vs-diff" }, wordDiff(was, now).map((part) => h(TAGS[part.kind], {}, part.text)));
}
