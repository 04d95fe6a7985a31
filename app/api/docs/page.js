// Shows the API's description. Everything from it is put in as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  for (const child of children.flat()) if (child !== null && child !== "") made.append(child);
  return made;
}

// Text in which `words` are code.
function prose(text) {
  return (text || "").split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function resolve(spec, thing) {
  while (thing && thing.$ref) thing = thing.$ref.slice(2).split("/").reduce((node, key) => node[key], spec);
  return thing || {};
}

function typeOf(spec, schema) {
  const name = schema.$ref ? schema.$ref.split("/").pop() : "";
  const options = schema.anyOf || schema.oneOf || schema.allOf;
  if (name) return name;
  if (options) return options.map((option) => typeOf(spec, option)).join(" | ");
  const type = [].concat(schema.type || "any").join(" | ");
  if (schema.items) return `array of ${typeOf(spec, schema.items)}`;
  return schema.format ? `${type} (${schema.format})` : type;
}

function limitsOf(schema) {
  const known = { minLength: "at least", maxLength: "at most", minimum: "from", maximum: "to" };
  const limits = Object.keys(known).filter((key) => schema[key] !== undefined).map((key) => `${known[key]} ${schema[key]}`);
  if (schema.enum) limits.push(schema.enum.map((value) => (value === null ? "null" : value)).join(", "));
  return limits.join(" · ");
}

function row(spec, name, schema, required, place) {
  const about = [schema.description ? element("div", {}, prose(schema.description)) : null,
    element("span", { class: "dim" }, limitsOf(schema))];
  return element("tr", {},
    element("td", {}, element("code", {}, name), required ? element("span", { class: "required", title: "required" }, " *") : null),
    element("td", { class: "dim" }, place ? `${place}, ${typeOf(spec, schema)}` : typeOf(spec, schema)),
    element("td", {}, about));
}

function table(rows) {
  const head = ["Name", "Type", ""].map((text) => element("th", {}, text));
  return element("table", {}, element("thead", {}, element("tr", {}, head)), element("tbody", {}, rows));
}

function fieldsOf(spec, schema) {
  const whole = resolve(spec, schema.type === "array" ? schema.items : schema);
  const required = whole.required || [];
  return Object.entries(whole.properties || {}).map(([name, field]) => row(spec, name, field, required.includes(name)));
}

function contentOf(spec, content, label) {
  return Object.entries(content || {}).flatMap(([type, media]) => {
    const example = media.example === undefined ? null : media.example;
    const text = typeof example === "string" ? example : JSON.stringify(example, null, 2);
    const rows = media.schema ? fieldsOf(spec, media.schema) : [];
    return [
      element("p", { class: "dim" }, `${type}: ${typeOf(spec, media.schema || {})}`),
      rows.length ? element("details", {}, element("summary", {}, `Fields of the ${label}`), table(rows)) : null,
      example === null ? null : element("details", {}, element("summary", {}, `Example ${label}`), element("pre", {}, text)),
    ];
  });
}

function curl(spec, path, method, operation) {
  const parts = [`curl -X ${method.toUpperCase()} '${location.origin}${path}'`];
  const open = operation.security && operation.security.length === 0;
  if (!open) parts.push('-H "Authorization: Bearer $TOKEN"');
  const json = ((operation.requestBody || {}).content || {})["application/json"];
  if (json) parts.push("--json '" + JSON.stringify(json.example || {}).replaceAll("'", "'\\''") + "'");
  return parts.join(" \\\n  ");
}

function answers(spec, operation) {
  const made = [];
  const refusals = [];
  for (const [status, reference] of Object.entries(operation.responses || {})) {
    const response = resolve(spec, reference);
    if (!status.startsWith("2")) {
      refusals.push(element("tr", {}, element("td", {}, status), element("td", {}, prose(response.description))));
      continue;
    }
    const links = Object.values(response.links || {}).map((link) => link.operationId);
    const follow = links.map((id) => [element("a", { href: `#${id}` }, id), " "]).flat();
    const headers = Object.entries(response.headers || {});
    made.push(element("h4", {}, `${status} ${response.description || ""}`), ...contentOf(spec, response.content, "answer"));
    if (headers.length) {
      made.push(table(headers.map(([name, header]) => row(spec, name, { ...header.schema, ...header }, false, "header"))));
    }
    if (follow.length) made.push(element("p", { class: "dim" }, "Then: ", follow));
  }
  made.push(element("details", {}, element("summary", {}, "Refusals"), element("table", {}, refusals)));
  return made;
}

function operationSection(spec, path, method, shared, operation) {
  const parameters = [...shared, ...(operation.parameters || [])].map((parameter) => resolve(spec, parameter));
  const rows = parameters.map((parameter) => row(spec, parameter.name,
    { ...parameter.schema, description: parameter.description || (parameter.schema || {}).description },
    parameter.required, parameter.in));
  return element("section", { id: operation.operationId },
    element("h3", {}, prose(operation.summary)),
    element("div", { class: "route" }, element("span", { class: `method ${method}` }, method), element("code", {}, path)),
    operation.description ? element("p", {}, prose(operation.description)) : null,
    rows.length ? [element("h4", {}, "Parameters"), table(rows)] : null,
    operation.requestBody ? [element("h4", {}, "Body"), ...contentOf(spec, operation.requestBody.content, "body")] : null,
    ...answers(spec, operation),
    element("details", {}, element("summary", {}, "curl"), element("pre", {}, curl(spec, path, method, operation))));
}

function show(spec) {
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = item[method];
      const tag = (operation.tags || ["Other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([path, method, item.parameters || [], operation]);
    }
  }
  const content = [element("p", {}, "A description for programs: ", element("a", { href: "openapi.json" }, "openapi.json"), ".")];
  for (const paragraph of (spec.info.description || "").trim().split("\n\n")) content.push(element("p", {}, prose(paragraph)));
  const index = [];
  for (const [tag, operations] of groups) {
    content.push(element("h2", {}, tag));
    index.push(element("h2", {}, tag));
    for (const [path, method, shared, operation] of operations) {
      content.push(operationSection(spec, path, method, shared, operation));
      index.push(element("a", { href: `#${operation.operationId}`, title: path },
        element("span", { class: `method ${method}` }, method), element("span", {}, operation.operationId)));
    }
  }
  document.getElementById("version").textContent = spec.info.version;
  document.getElementById("content").replaceChildren(...content);
  document.getElementById("index").replaceChildren(...index);
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const link of document.querySelectorAll("#index a")) {
    link.hidden = !`${link.title} ${link.textContent}`.toLowerCase().includes(wanted);
  }
});

fetch("openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch((error) => { document.getElementById("content").textContent = `The description could not be read: ${error}`; });
