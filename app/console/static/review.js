// A diff as a review. Comments on lines are written beside the code, kept in this browser, and sent together.
"use strict";

// A file that is viewed is closed, and marked in the list of files.
document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-viewed]")) return;
  const file = event.target.closest(".file"), boxes = all("[data-viewed]");
  find("details", file).open = !event.target.checked;
  find(`.tree a[href="#${file.id}"]`).parentElement.classList.toggle("is-viewed", event.target.checked);
  find("[data-viewed-count]").textContent = `${boxes.filter((box) => box.checked).length} of ${boxes.length} viewed`;
});

const review = find("#review");
if (review) {
  const name = review.dataset.draftName;
  let comments = [];
  try { comments = JSON.parse(localStorage.getItem(name)) ?? []; } catch { /* An unreadable draft is no draft. */ }
  // What is selected: two lines of a table, or for a whole file none.
  let picked = null, editor = null;

  const anchors = (table) => all("[id]", table);
  const anchorOf = (element) => element.closest(".code [id]");
  const fileOf = (element) => element.closest(".file").id.slice("file-".length);
  const lineOf = (anchor) => anchor.id.slice(anchor.id.indexOf("-") + 1);
  const pathOf = (file) => find(`[data-comment="${file}"]`)?.dataset.path;
  const described = (lines) => {
    if (!lines) return "The whole file";
    const [first, last] = lines.split("-").map((line) => line.slice(1) + (line[0] === "L" ? " (removed)" : ""));
    return last && last !== first ? `Lines ${first} to ${last}` : `Line ${first}`;
  };
  const copy = (id) => find(`#${id}`).content.firstElementChild.cloneNode(true);

  function save() {
    localStorage.setItem(name, JSON.stringify(comments));
    place();
  }

  // Selecting lines.
  function selected() {
    const from = anchors(picked.table), places = [from.indexOf(picked.first), from.indexOf(picked.last)];
    const side = picked.first.matches("td") ? lineOf(picked.first)[0] : "";
    return from.slice(Math.min(...places), Math.max(...places) + 1).filter((anchor) => lineOf(anchor).startsWith(side));
  }
  function pick(first, last) {
    for (const anchor of all(".picked")) anchor.classList.remove("picked");
    picked = first && { table: first.closest("table"), first, last };
    if (!picked) return "";
    const chosen = selected();
    for (const anchor of chosen) anchor.classList.add("picked");
    return [chosen[0], chosen.at(-1)].map(lineOf).join("-");
  }

  // The editor: below the last selected line, or above the lines for a whole file.
  function put(element, anchor, file) {
    if (!anchor) return find(`#file-${CSS.escape(file)} .file-comments`)?.append(element);
    const row = document.createElement("tr"), cell = document.createElement("td");
    row.className = "comment-row";
    cell.colSpan = anchor.closest("tr").cells.length;
    cell.append(element);
    row.append(cell);
    anchor.closest("tr").after(row);
  }
  function take(element) {
    (element.closest(".comment-row") ?? element).remove();
  }
  function close() {
    const closed = editor;
    if (closed) take(closed.element);
    editor = null;
    pick(null);
    place();
    if (closed) goTo(closed.file, closed.lines);
  }
  function open(file, first, last, old) {
    const text = editor && !editor.old ? find("textarea", editor.element).value : "";
    if (editor) take(editor.element);
    const element = copy("comment-editor"), field = find("textarea", element);
    const lines = pick(first, last);
    find("[data-lines]", element).textContent = described(lines);
    for (const button of all("[data-extend]", element)) button.hidden = !first;
    field.value = old?.comment ?? text;
    editor = { element, file, lines, old };
    put(element, first && selected().at(-1), file);
    field.focus();
  }
  function extend(by) {
    const chosen = selected(), side = picked.first.matches("td") ? lineOf(picked.first)[0] : "";
    const list = anchors(picked.table).filter((anchor) => lineOf(anchor).startsWith(side));
    const next = list[list.indexOf(by < 0 ? chosen[0] : chosen.at(-1)) + by];
    if (next) open(editor.file, by < 0 ? next : chosen[0], by < 0 ? chosen.at(-1) : next, editor.old);
  }
  function add() {
    const comment = find("textarea", editor.element).value.trim(), { file, lines, old } = editor;
    if (!comment) return find("textarea", editor.element).focus();
    const made = { file, path: pathOf(file), version: review.dataset.version, lines, comment };
    comments = old ? comments.map((each) => (each === old ? made : each)) : [...comments, made];
    close();
    save();
  }
  function rowOf(file, line) {
    return line && document.getElementById(`f${file}-${line}`);
  }
  // One line of a file is where Tab leads to; the arrow keys lead on.
  function focus(anchor) {
    for (const other of all("[id][tabindex]", anchor.closest("table"))) other.tabIndex = -1;
    anchor.tabIndex = 0;
    anchor.focus();
  }
  // When a comment or its editor goes, the focus goes back to what it is about.
  function goTo(file, lines) {
    const anchor = rowOf(file, lines.split("-").at(-1));
    if (anchor) focus(anchor);
    else find(`[data-comment="${CSS.escape(file)}"]`)?.focus();
  }

  // What is written already.
  function place() {
    for (const element of all(".comment")) if (element !== editor?.element) take(element);
    for (const each of comments.filter((each) => each !== editor?.old)) {
      const element = copy("comment-shown"), isOld = each.version !== review.dataset.version;
      find("[data-lines]", element).textContent = described(each.lines) + (isOld ? ` of an earlier version of ${each.path}` : "");
      find("[data-text]", element).textContent = each.comment;
      find("[data-edit]", element).hidden = isOld;
      const [first, last] = each.lines.split("-").map((line) => rowOf(each.file, line));
      find("[data-edit]", element).addEventListener("click", () => open(each.file, first, last, each));
      find("[data-delete]", element).addEventListener("click", () => {
        comments = comments.filter((other) => other !== each);
        save();
        goTo(each.file, each.lines);
      });
      if (isOld) find(".outdated", review).append(element);
      else if (!each.lines || last) put(element, last, each.file);
    }
    review.hidden = !comments.length;
    find("[data-count]", review).textContent = comments.length === 1 ? "1 comment" : `${comments.length} comments`;
  }
  // The link to a file's lines makes way for them, and the focus goes on to the first.
  let left = null;
  document.addEventListener("htmx:before:swap", () => {
    left = document.activeElement.matches(".file-body a") ? document.activeElement.closest(".file") : null;
  });
  function ready() {
    for (const table of all(".code:not([data-ready])")) {
      const [first] = anchors(table);
      table.dataset.ready = "";
      if (first) first.tabIndex = 0;
      if (first && left?.contains(table)) first.focus();
    }
    const target = location.hash.startsWith("#f") && document.getElementById(location.hash.slice(1));
    if (target && !target.dataset.seen) { target.dataset.seen = ""; target.scrollIntoView({ block: "center" }); pick(target, target); }
    place();
  }
  document.addEventListener("htmx:after:swap", ready);
  const linked = location.hash.match(/^#f(\d+)-/);
  if (linked) {
    find(`#file-${linked[1]}`)?.scrollIntoView();
    // Not by a click, which would leave the page before htmx has begun.
    const folded = find(`#file-${linked[1]} [data-show]`);
    if (folded) htmx.ajax("GET", folded.href, { source: folded, target: folded.closest(".file-body"), swap: "outerHTML" });
  }

  // The mouse draws over line numbers; a tap on a number selects it, and another one extends what is selected.
  let isDrawing = false;
  document.addEventListener("pointerdown", (event) => {
    const anchor = event.target.matches(".code .ln") && anchorOf(event.target);
    if (!anchor || event.pointerType !== "mouse" || event.button) return;
    event.preventDefault();
    isDrawing = true;
    const canExtend = event.shiftKey && picked?.table === anchor.closest("table");
    pick(canExtend ? picked.first : anchor, anchor);
  });
  document.addEventListener("pointerover", (event) => {
    const anchor = isDrawing && anchorOf(event.target);
    if (anchor && anchor.closest("table") === picked.table) pick(picked.first, anchor);
  });
  document.addEventListener("pointerup", () => {
    if (isDrawing) open(fileOf(picked.first), picked.first, picked.last);
    isDrawing = false;
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-comment]"), anchor = event.target.matches(".code .ln") && anchorOf(event.target);
    if (button) {
      event.preventDefault();
      open(button.dataset.comment, null, null);
    } else if (anchor && event.pointerType !== "mouse") {
      const canExtend = editor && picked?.table === anchor.closest("table") && !find("textarea", editor.element).value;
      open(fileOf(anchor), canExtend ? picked.first : anchor, anchor);
    } else if (event.target.matches("[data-extend]")) extend(Number(event.target.dataset.extend));
    else if (event.target.matches("[data-save]")) add();
    else if (event.target.matches("[data-cancel]")) close();
    else if (event.target.matches("[data-discard]") && confirm("Discard all comments that were not sent?")) {
      comments = [];
      close();
      save();
      find(".file > details > summary")?.focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    const anchor = event.target.matches(".code [id]") && event.target, field = editor && event.target.closest(".comment textarea");
    if (field && event.key === "Escape") close();
    if (field && event.key === "Enter" && (event.ctrlKey || event.metaKey)) add();
    if (!anchor) return;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) {
      event.preventDefault();
      const list = anchors(anchor.closest("table")), next = list[list.indexOf(anchor) + by];
      if (!next) return;
      focus(next);
      const canExtend = event.shiftKey && picked?.table === anchor.closest("table");
      pick(canExtend ? picked.first : event.shiftKey ? anchor : next, next);
    } else if (event.key === "Enter") {
      event.preventDefault();
      open(fileOf(anchor), picked?.table === anchor.closest("table") ? picked.first : anchor, anchor);
    }
  });

  find("form", review).addEventListener("submit", (event) => {
    for (const each of comments) {
      for (const [field, value] of [["file", each.file], ["path", each.path], ["version", each.version], ["lines", each.lines], ["comment", each.comment]]) {
        const input = document.createElement("input");
        Object.assign(input, { type: "hidden", name: field, value });
        event.target.append(input);
      }
    }
  });
  ready();
}
