// What /metrics says: sums of series, and quantiles of histograms between two looks at them.

/** Values of all series by their name, histograms as `[bound, count]` in order of their bounds. */
export function parseMetrics(text) {
  const values = new Map();
  const buckets = new Map();
  for (const line of text.split("\n")) {
    const found = /^([\w:]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!found) continue;
    const [, name, labels = "", value] = found;
    const bound = /(?:^|,)le="([^"]+)"/.exec(labels)?.[1];
    if (bound === undefined) {
      values.set(name, (values.get(name) ?? 0) + Number(value));
    } else {
      const of = name.replace(/_bucket$/, "");
      if (!buckets.has(of)) buckets.set(of, []);
      buckets.get(of).push([bound === "+Inf" ? Infinity : Number(bound), Number(value)]);
    }
  }
  return { values, buckets };
}

/**
 * The quantile of what was counted between two looks, taken as even within a bucket, as Prometheus does;
 * `null` if nothing was.
 */
export function quantile(q, before, now) {
  const counts = now.map(([bound, count], i) => [bound, count - (before?.[i]?.[1] ?? 0)]);
  const total = counts.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const rank = q * total;
  let [low, below] = [0, 0];
  for (const [bound, count] of counts) {
    if (count >= rank && count > below) {
      return bound === Infinity ? low : low + ((bound - low) * (rank - below)) / (count - below);
    }
    [low, below] = [bound, count];
  }
  return low;
}
