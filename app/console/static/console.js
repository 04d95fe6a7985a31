// What the console's pages do beyond links and forms, which work without this file.
"use strict";

const root = document.documentElement;
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Times: how long ago, and how long so far.
const UNITS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
function period(seconds) {
  const whole = Math.max(Math.floor(seconds), 0);
  for (const [place, [size, unit]] of UNITS.entries()) {
    if (whole >= size && place < 3) {
      const [rest, small] = UNITS[place + 1];
      return `${Math.floor(whole / size)}${unit} ${String(Math.floor((whole % size) / rest)).padStart(2, "0")}${small}`;
    }
  }
  return `${whole}s`;
}
function ago(seconds) {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return unit === "s" ? "just now" : `${Math.floor(seconds / size)}${unit} ago`;
}
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function tick() {
  const now = Date.now();
  for (const time of all("time[data-ago]")) write(time, ago((now - Date.parse(time.dateTime)) / 1000));
  for (const time of all("[data-since]")) write(time, period((now - Date.parse(time.dataset.since)) / 1000));
}
tick();
setInterval(tick, 1000);

// Colours: the button also works as a form.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[name=theme]");
  if (!button) return;
  event.preventDefault();
  document.cookie = `theme=${button.value}; path=/; max-age=31536000; samesite=lax`;
  if (button.value === "system") delete root.dataset.theme; else root.dataset.theme = button.value;
  for (const other of all("button[name=theme]")) other.toggleAttribute("aria-pressed", false);
  button.setAttribute("aria-pressed", "true");
});

// Filters apply when they are chosen, and menus close when the pointer, the focus or Escape leaves them.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-autosubmit]")) event.target.form.requestSubmit();
});
for (const leaving of ["click", "focusin"]) {
  document.addEventListener(leaving, (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
}
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-help]")) find("#help").showModal();
});

// What cannot be undone is asked for.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// Drafts survive a reload, and are forgotten once they are sent.
for (const field of all("textarea[data-draft]")) {
  const name = `draft:${field.dataset.draft}`;
  if (!field.value) field.value = sessionStorage.getItem(name) ?? "";
  field.addEventListener("input", () => sessionStorage.setItem(name, field.value));
  field.form.addEventListener("submit", () => sessionStorage.removeItem(name));
}

for (const sent of all("[data-forget]")) localStorage.removeItem(sent.dataset.forget);

// The keyboard.
function move(by) {
  const items = all("[data-item]").filter((item) => item.getClientRects().length);
  if (!items.length) return;
  const at = items.indexOf(document.activeElement);
  const next = items[Math.min(Math.max(at + by, 0), items.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && find("details.menu[open]");
  if (menu) {
    menu.open = false;
    find("summary", menu).focus();
    return;
  }
  const field = event.target.closest?.("input, textarea, select");
  if (field) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && field.form) field.form.requestSubmit();
    if (event.key === "Escape") field.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "?") find("#help")?.showModal();
  else {
    const target = all("[data-key]").find((element) => element.dataset.key === event.key);
    if (!target) return;
    event.preventDefault();
    if (target.matches("a")) target.click(); else target.focus();
  }
});

// Live pages. An event says that something changed; what it is now is asked for, one question at a time.
const stream = find("#stream");
if (stream) {
  let isWanted = false, isAsking = false;
  const pause = stream.dataset.refresh === "list" ? 700 : 200;

  async function ask() {
    if (stream.dataset.refresh === "list") {
      await htmx.ajax("GET", location.pathname + location.search, { source: stream, target: "#list", swap: "innerMorph" });
    } else {
      const isFollowing = innerHeight + scrollY >= root.scrollHeight - 80;
      await htmx.ajax("GET", `${stream.dataset.url}&after=${stream.dataset.after}`, { source: stream, target: "#stream", swap: "none" });
      joinResults();
      if (isFollowing) scrollTo({ top: root.scrollHeight });
    }
    tick();
  }
  async function refresh() {
    isWanted = true;
    if (isAsking) return;
    isAsking = true;
    try {
      while (isWanted) {
        isWanted = false;
        await ask();
        await new Promise((done) => setTimeout(done, pause));
        if (stream.hasAttribute("data-more")) isWanted = true;
      }
    } finally {
      isAsking = false;
    }
  }
  // The result of a call that is shown already belongs to it.
  function joinResults() {
    for (const result of all("[data-result-of]")) {
      const call = find(`#steps > [data-ref="${CSS.escape(result.dataset.resultOf)}"]:not([data-result-of])`);
      const line = call && find(".line, details", call);
      const outputs = all(".output", result);
      if (!line || !outputs.length) continue;
      let details = line;
      if (line.matches(".line")) {
        details = document.createElement("details");
        const summary = document.createElement("summary");
        summary.append(...line.childNodes);
        details.append(summary);
        line.replaceWith(details);
      }
      details.append(...outputs);
      call.classList.toggle("failed", result.classList.contains("failed"));
      result.remove();
    }
  }
  function show(text) {
    for (const element of all("[data-live-state]")) {
      element.hidden = !text;
      if (text) element.textContent = text;
    }
  }
  for (const name of ["step", "state", "stage", "usage", "publication", "budget"]) stream.addEventListener(name, refresh);
  stream.addEventListener("done", (event) => {
    const ended = JSON.parse(event.detail.data);
    if (ended.error_code) location.reload();
  });
  stream.addEventListener("htmx:sse:after:connection", () => { show(""); refresh(); });
  // A question that got no answer is asked again: the connection for events may be whole, and tell nothing new.
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx?.sourceElement === stream) setTimeout(refresh, 2000);
  });
  stream.addEventListener("htmx:sse:error", () => show("Reconnecting. This page may be behind."));
  stream.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 1) show("Reconnecting. This page may be behind.");
  });
  document.addEventListener("htmx:after:request", (event) => {
    const headers = event.detail.ctx?.response?.headers;
    const after = headers?.get("Steps-After");
    if (!after) return;
    stream.dataset.after = after;
    stream.toggleAttribute("data-more", headers.get("Steps-More") === "true");
  });
  // Two answers may have the same step, such as when a connection broke in between.
  document.addEventListener("htmx:after:swap", () => {
    const shown = new Set();
    for (const step of all("#steps > [id]")) {
      if (shown.has(step.id)) step.remove();
      shown.add(step.id);
    }
  });
  // Until the work of a stopped session is saved no event comes.
  setInterval(() => { if (find("[data-poll]")) refresh(); }, 2000);
}

for (const button of all("[data-submit]")) button.form.requestSubmit();
