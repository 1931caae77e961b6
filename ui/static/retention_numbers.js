// How shares, their intervals and p-values are written.
import { h } from "./dom.js";

export const percent = (value, digits = 0) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits).replace(/^-(?=[0.]*$)/, "")} %`); // no "-0 %"
export const span = (row, value = row?.value) => (value === null || value === undefined ? "–" : [percent(value), row.low === null || row.low === undefined ? null : h("small", {}, ` ${percent(row.low)} to ${percent(row.high)}`)]);
export const p = (value) => (value === null || value === undefined ? "–" : value < 0.001 ? "< 0.001" : value.toFixed(3));
