// Files for the agent: picked, dropped or pasted, and uploaded while the prompt is written.
"use strict";

const form = find("form.takes-files");
if (form) {
  const list = find(".uploads", form), label = find("[data-send]", form).textContent;
  let uploading = 0;

  function count(by) {
    uploading += by;
    find("[data-send]", form).textContent = uploading ? "Uploading…" : label;
  }
  // Before the draft is forgotten, too.
  form.addEventListener("submit", (event) => {
    if (!uploading) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, { capture: true });
  function element(name, values = {}, ...children) {
    const made = Object.assign(document.createElement(name), values);
    made.append(...children);
    return made;
  }
  function put(item, bar, file, { url, headers }) {
    return new Promise((done, fail) => {
      const sending = new XMLHttpRequest();
      sending.open("PUT", url);
      for (const [name, value] of Object.entries(headers)) if (name.toLowerCase() !== "content-length") sending.setRequestHeader(name, value);
      sending.upload.addEventListener("progress", (event) => { bar.value = event.loaded / (event.total || 1); });
      sending.addEventListener("load", () => {
        if (sending.status < 300) return done();
        let message = `the server answered ${sending.status}`;
        try { message = JSON.parse(sending.responseText).message ?? message; } catch { /* It is not an answer of the API. */ }
        fail(new Error(message));
      });
      sending.addEventListener("error", () => fail(new Error("the connection failed")));
      sending.addEventListener("abort", () => fail(new Error("it was removed")));
      item.addEventListener("remove", () => sending.abort());
      sending.send(file);
    });
  }
  async function begin(file) {
    const data = new URLSearchParams({ csrf: form.elements.csrf.value, filename: file.name, content_type: file.type || "application/octet-stream", size: file.size });
    const answer = await fetch("/runners/upload", { method: "POST", body: data });
    const given = await answer.json().catch(() => ({}));
    if (answer.ok) return given;
    throw new Error(given.message ?? `the server answered ${answer.status}`);
  }
  async function upload(file) {
    const bar = element("progress", { max: 1, value: 0, ariaLabel: `Uploading ${file.name}` });
    const remove = element("button", { type: "button", className: "button quiet small", textContent: "Remove", ariaLabel: `Remove ${file.name}` });
    remove.dataset.remove = "";
    const item = element("li", {}, element("span", { className: "grow", textContent: file.name }), bar, remove);
    list.append(item);
    count(1);
    try {
      const place = await begin(file);
      await put(item, bar, file, place);
      bar.replaceWith(element("input", { type: "hidden", name: "file_keys", value: place.key }));
    } catch (error) {
      bar.replaceWith(element("span", { className: "bad", role: "alert", textContent: `Not attached: ${error.message}` }));
    } finally {
      count(-1);
    }
  }
  const take = (files) => { for (const file of files) upload(file); };

  find("#picker").addEventListener("change", (event) => { take(event.target.files); event.target.value = ""; });
  form.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files);
  });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    form.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      form.classList.toggle("dropping", name === "dragenter" || name === "dragover");
      if (name === "drop") take(event.dataTransfer.files);
    });
  }
  list.addEventListener("click", (event) => {
    if (!event.target.matches("[data-remove]")) return;
    const item = event.target.closest("li");
    item.dispatchEvent(new Event("remove"));
    item.remove();
  });
}
