// Numbers as people read them: centimetres, degrees, seconds, and the motion of one row in words.
const WAYS = [["back", "forward"], ["right", "left"], ["down", "up"]]; // negative and positive x, y, z
const TURNS = [["roll left", "roll right"], ["pitch up", "pitch down"], ["turn right", "turn left"]];
const SMALL_CM = 0.05, SMALL_DEG = 0.5;
const DEGREES = 180 / Math.PI;

export const OPEN_FROM = 0.5;
export const seconds = (value) => (value === null || value === undefined || !Number.isFinite(value) ? "–" : value < 10 ? `${Math.max(0, value).toFixed(1)} s` : value < 100 ? `${Math.round(value)} s` : clock(value));
export const clock = (value) => `${Math.floor(value / 60)}:${String(Math.floor(value % 60)).padStart(2, "0")} min`;

// "forward 4.0 cm, down 3.0 cm, open": [dx dy dz droll dpitch dyaw gripper] in metres and radians.
export function motion(row, { gripper = true } = {}) {
  const parts = [];
  WAYS.forEach(([less, more], axis) => {
    const value = row[axis] * 100;
    if (Math.abs(value) >= SMALL_CM) parts.push(`${value < 0 ? less : more} ${Math.abs(value).toFixed(1)} cm`);
  });
  TURNS.forEach(([less, more], axis) => {
    const value = row[axis + 3] * DEGREES;
    if (Math.abs(value) >= SMALL_DEG) parts.push(`${value < 0 ? less : more} ${Math.abs(value).toFixed(0)}°`);
  });
  if (!parts.length) parts.push("stay");
  if (gripper) parts.push(row[6] >= OPEN_FROM ? "open" : "closed");
  return parts.join(", ");
}

// The sum of what rows ask for or of what was measured.
export const total = (rows) => rows.reduce((sum, row) => sum.map((value, axis) => (axis < 6 ? value + row[axis] : row[axis])), [0, 0, 0, 0, 0, 0, 1]);

export function jointText(value, unit) {
  if (value === undefined || value === null) return "–";
  if (unit === "m") return `${(value * 100).toFixed(1)} cm`;
  if (unit === "rad") return `${Math.round(value * DEGREES) || 0}°`;
  return `${Math.round(value * 100)} %`;
}
