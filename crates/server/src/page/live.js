// What the engine does, looked at once a second while somebody sees it.

import { ask } from "./api.js";
import { showBlocks } from "./blocks.js";
import { parseMetrics, quantile } from "./histogram.js";
import { colourOf, drawPlot, drawSpark } from "./plots.js";
import { bytes, percent, time } from "./units.js";

const PERIOD_MS = 1000;
const NUM_POINTS = 120;
const WINDOW_MS = 60_000;
const SERIES = ["running", "waiting", "preemptions", "tokens", "step", "usage", "ttft50", "ttft95", "itl50", "itl95"];
const SOURCES = ["device", "host", "disk", "object", "computed"];

const $ = (id) => document.getElementById(id);
const history = Object.fromEntries(SERIES.map((name) => [name, []]));
/** Earlier looks, the oldest about a minute old. */
let looks = [];
let shown = null;

/** A value with its unit, small. */
function put(id, text) {
  const [value, unit = ""] = text.split(" ");
  const small = document.createElement("small");
  small.textContent = unit;
  $(id).replaceChildren(value, small);
}

/** What became of the engine between two looks. */
function between(before, now) {
  const scheduler = now.state.scheduler;
  const blocks = now.state.kv_blocks;
  const numSteps = scheduler.steps - before.state.scheduler.steps;
  const stepTime = scheduler.total_step_s - before.state.scheduler.total_step_s;
  const generated = (look) => look.metrics.values.get("vllm:generation_tokens_total") ?? 0;
  const oldest = looks[0];
  const at = (q, name) => quantile(q, oldest.metrics.buckets.get(name), now.metrics.buckets.get(name) ?? []);
  return {
    running: scheduler.running,
    waiting: scheduler.waiting + scheduler.loading,
    preemptions: scheduler.preemptions - before.state.scheduler.preemptions,
    tokens: (1000 * (generated(now) - generated(before))) / (now.at - before.at),
    step: numSteps > 0 ? stepTime / numSteps : null,
    usage: (blocks.active + blocks.shared + blocks.pinned) / blocks.total,
    ttft50: at(0.5, "vllm:time_to_first_token_seconds"),
    ttft95: at(0.95, "vllm:time_to_first_token_seconds"),
    itl50: at(0.5, "vllm:inter_token_latency_seconds"),
    itl95: at(0.95, "vllm:inter_token_latency_seconds"),
  };
}

function showNumbers(latest, scheduler) {
  put("running", String(latest.running));
  put("waiting", String(latest.waiting));
  put("preemptions", String(scheduler.preemptions));
  put("tokens", latest.tokens.toFixed(latest.tokens < 100 ? 1 : 0));
  put("step", time(latest.step ?? (scheduler.steps ? scheduler.last_step_s : null)));
  put("usage", percent(latest.usage));
}

function showPlots() {
  document.querySelectorAll("[data-spark]").forEach((canvas) => {
    drawSpark(canvas, history[canvas.dataset.spark], NUM_POINTS);
  });
  for (const name of ["ttft", "itl"]) {
    const [median, p95] = [history[`${name}50`], history[`${name}95`]];
    const series = [{ values: p95, colour: colourOf("p95") }, { values: median, colour: colourOf("median") }];
    drawPlot($(`${name}-plot`), series, NUM_POINTS, time);
    const [now, nowP95] = [median.at(-1) ?? null, p95.at(-1) ?? null];
    $(name).textContent = now === null ? "–" : `${time(now)} / ${time(nowP95)}`;
    $(`${name}-plot`).setAttribute("aria-label", `median ${time(now)}, 95th percentile ${time(nowP95)}`);
  }
}

function showSources(tokens) {
  const found = SOURCES.slice(0, -1).reduce((sum, source) => sum + tokens[source], 0);
  const all = { ...tokens, computed: Math.max(0, tokens.queried - found) };
  const total = Math.max(1, tokens.queried);
  const parts = SOURCES.map((source) => {
    const part = document.createElement("i");
    part.className = `key ${source}`;
    part.style.width = percent(all[source] / total).replace(" ", "");
    return part;
  });
  $("sources-bar").replaceChildren(...parts);
  const texts = SOURCES.map((source) => percent(all[source] / total));
  document.querySelectorAll("#sources-legend b").forEach((text, i) => {
    text.textContent = tokens.queried ? texts[i] : "–";
  });
  $("sources-bar").setAttribute("aria-label", SOURCES.map((source, i) => `${source} ${texts[i]}`).join(", "));
  $("sources-note").textContent = `${tokens.queried.toLocaleString("en")} tokens`;
}

function showStore(tiers) {
  $("store").hidden = tiers === null;
  const rows = (tiers ?? []).map((tier) => {
    const row = document.createElement("tr");
    const reads = tier.hits + tier.misses;
    const used = `${bytes(tier.bytes)} of ${bytes(tier.cap_bytes)}`;
    const name = tier.tier === "host" ? "RAM" : tier.tier;
    const cells = [name, used, tier.chunks, reads ? percent(tier.hits / reads) : "–", tier.evicted];
    row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    return row;
  });
  $("store-rows").replaceChildren(...rows);
}

function showConnection(state, text) {
  if ($("connection").textContent === text) return;
  $("connection").dataset.state = state;
  $("connection").textContent = text;
}

function show() {
  if (!shown) return;
  showPlots();
  showBlocks(shown.kv_blocks);
}

function take(look) {
  const { state } = look;
  // A server that began anew has lower counts.
  if (looks.at(-1)?.state.scheduler.steps > state.scheduler.steps) looks = [];
  looks.push(look);
  while (looks.length > 2 && look.at - looks[1].at >= WINDOW_MS) looks.shift();
  shown = state;
  if (looks.length > 1) {
    const latest = between(looks.at(-2), look);
    for (const name of SERIES) {
      history[name].push(latest[name]);
      if (history[name].length > NUM_POINTS) history[name].shift();
    }
    showNumbers(latest, state.scheduler);
  }
  showSources(state.prompt_tokens);
  showStore(state.kv_store);
  show();
  $("model").textContent = state.model;
  $("device").textContent = state.device;
  const numLive = state.scheduler.running + state.scheduler.waiting + state.scheduler.loading;
  showConnection(numLive ? "busy" : "idle", numLive ? "working" : "idle");
}

async function look() {
  try {
    const [state, metrics] = await Promise.all([
      ask("/kvasir/state").then((response) => response.json()),
      ask("/metrics").then((response) => response.text()),
    ]);
    take({ at: performance.now(), state, metrics: parseMetrics(metrics) });
  } catch (error) {
    if (error.status === 401) showConnection("key", "key wanted");
    else showConnection("lost", "no answer");
  }
}

/** Draws with what is known, after a change of colours or sizes. */
export const redraw = show;

export async function startLive() {
  window.addEventListener("resize", show);
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((wake) => setTimeout(wake, PERIOD_MS));
  }
}
