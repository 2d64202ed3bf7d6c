// Figures with their units, as many digits as mean something.

export function time(s) {
  if (s === null) return "–";
  if (s >= 1) return `${s.toPrecision(3)} s`;
  const ms = s * 1000;
  return `${ms < 100 ? Number(ms.toPrecision(3)) : Math.round(ms)} ms`;
}

export const percent = (part) => `${(100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, n)) / 10));
  return `${(n / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}
