// The page: colours, the key, and its two halves.

import { apiKey } from "./api.js";
import { startChat } from "./chat.js";
import { redraw, startLive } from "./live.js";

const root = document.documentElement;
const darkSystem = window.matchMedia("(prefers-color-scheme: dark)");
const theme = document.getElementById("theme");

const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : darkSystem.matches);

function showTheme() {
  theme.setAttribute("aria-pressed", String(isDark()));
  redraw();
}

function startTheme() {
  const chosen = localStorage.getItem("kvasir-theme");
  if (chosen) root.dataset.theme = chosen;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("kvasir-theme", root.dataset.theme);
    showTheme();
  });
  darkSystem.addEventListener("change", showTheme);
  showTheme();
}

function startKey() {
  const form = document.getElementById("key-form");
  const key = document.getElementById("key");
  document.addEventListener("key-wanted", () => {
    if (!form.hidden) return;
    form.hidden = false;
    key.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apiKey.set(key.value.trim());
    key.value = "";
    form.hidden = true;
    document.getElementById("question").focus();
  });
}

startTheme();
startKey();
startChat();
startLive();
