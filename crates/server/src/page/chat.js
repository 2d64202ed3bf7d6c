// The conversation. Whatever the model writes is text, and is shown as nothing else.

import { ask, events } from "./api.js";
import { time } from "./units.js";

const $ = (id) => document.getElementById(id);

/** What was said, without the system prompt. */
let messages = [];
/** Stops the answer in progress. */
let running = null;

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function addTurn(role, text) {
  $("empty").hidden = true;
  const turn = element("article", `turn ${role}`);
  turn.append(element("h3", "", role === "user" ? "You" : "Model"));
  const body = turn.appendChild(element("div", "text", text));
  $("log").append(turn);
  $("log").scrollTop = $("log").scrollHeight;
  return { turn, body };
}

/** A field's number, or nothing for the server's own. */
function number(id) {
  const value = $(id).value.trim();
  return value === "" ? undefined : Number(value);
}

function request() {
  const system = $("system").value.trim();
  return {
    messages: [...(system ? [{ role: "system", content: system }] : []), ...messages],
    temperature: number("temperature"),
    max_tokens: number("max-tokens"),
    seed: number("seed"),
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** Where it is shown what the model thinks before the answer in `body`. */
function thought(body) {
  const before = body.previousElementSibling;
  if (before.className === "thought") return before;
  const made = element("div", "thought");
  body.before(made);
  return made;
}

/** Reads an answer into `body`; tells when its tokens came, and what they took. */
async function read(answer, body, told) {
  for await (const chunk of events(answer)) {
    if (chunk.usage) told.usage = chunk.usage;
    const choice = chunk.choices[0];
    if (choice?.finish_reason) told.reason = choice.finish_reason;
    const { content, reasoning } = choice?.delta ?? {};
    if (!content && !reasoning) continue;
    told.last = performance.now();
    told.first ??= told.last;
    const log = $("log");
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (reasoning) thought(body).append(reasoning);
    if (content) body.append(content);
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}

function stats({ start, first, last, usage, reason }) {
  const line = element("p", "stats");
  const add = (name, value) => {
    const item = line.appendChild(element("span", "", `${name} `));
    item.append(element("b", "", value));
  };
  if (first) add("first token", time((first - start) / 1000));
  if (usage) {
    const numMore = usage.completion_tokens - 1;
    if (numMore > 0 && last > first) add("tokens/s", ((numMore * 1000) / (last - first)).toFixed(1));
    add("prompt", usage.prompt_tokens);
    add("cached", usage.prompt_tokens_details.cached_tokens);
    add("answer", usage.completion_tokens);
  }
  add("ended by", reason);
  return line;
}

function setRunning(controller, progress) {
  running = controller;
  $("send").hidden = Boolean(controller);
  $("stop").hidden = !controller;
  $("log").setAttribute("aria-busy", String(Boolean(controller)));
  $("progress").textContent = progress;
}

async function send() {
  const question = $("question").value.trim();
  if (!question || running) return;
  const controller = new AbortController();
  setRunning(controller, "Answering");
  addTurn("user", question);
  const { turn, body } = addTurn("assistant", "");
  turn.classList.add("answering");
  messages.push({ role: "user", content: question });
  $("question").value = "";
  const told = { start: performance.now(), reason: "" };
  try {
    await read(await ask("/v1/chat/completions", { body: request(), signal: controller.signal }), body, told);
  } catch (error) {
    const isStopped = controller.signal.aborted;
    told.reason = isStopped ? "you" : "an error";
    if (!isStopped) turn.append(element("p", "error", error.message));
  }
  turn.classList.remove("answering");
  // A new chat may have begun meanwhile.
  if (!turn.isConnected) return;
  turn.append(stats(told));
  if (body.textContent) {
    messages.push({ role: "assistant", content: body.textContent });
  } else {
    // What was not answered can be asked again.
    messages.pop();
    if (!$("question").value) $("question").value = question;
  }
  $("log").scrollTop = $("log").scrollHeight;
  setRunning(null, told.reason === "you" ? "Stopped" : "Answer complete");
}

function newChat() {
  running?.abort();
  messages = [];
  $("log").querySelectorAll(".turn").forEach((turn) => turn.remove());
  $("empty").hidden = false;
  setRunning(null, "New chat");
  $("question").focus();
}

export function startChat() {
  $("chat-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("question").addEventListener("keydown", (event) => {
    // Enter also ends the choice of a character in some languages.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("chat-form").requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") running?.abort();
  });
  $("stop").addEventListener("click", () => {
    running?.abort();
    $("question").focus();
  });
  $("new-chat").addEventListener("click", newChat);
}
