// /openapi.json as a page: each path with an example, and the fields of what it takes and gives.

import { element } from "/views.js";

const $ = id => document.getElementById(id);

const named = (schema, api) => schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;

// Text in which `code` is between backticks.
const prose = (text = "") => text.split("`").map((part, number) => number % 2 ? element("code", {}, part) : part);

function type(schema, api) {
  if (schema.$ref) return named(schema, api).title;
  if (schema.anyOf) return schema.anyOf.map(each => type(each, api)).join(" or ");
  if (schema.type === "array") return `list of ${type(schema.items, api)}`;
  return schema.type ?? "anything";
}

function example(schema, api) {
  const whole = named(schema, api);
  if (whole.type === "array") return [example(whole.items, api)];
  return Object.fromEntries(Object.entries(whole.properties)
    .filter(([name, field]) => field.examples || whole.required?.includes(name))
    .map(([name, field]) => [name, field.examples?.[0] ?? example(field, api)]));
}

// The fields of a schema and of those in it, each schema once on the page.
function fields(schema, api, seen) {
  const whole = named(schema, api);
  if (!whole?.properties || seen.has(whole.title)) return [];
  seen.add(whole.title);
  const rows = Object.entries(whole.properties).map(([name, field]) => element("tr", {},
    element("td", {}, element("code", {}, name)), element("td", {}, type(field, api)),
    element("td", {}, ...prose(field.description))));
  const head = element("tr", {}, ...["field", "type", "meaning"].map(each => element("th", { scope: "col" }, each)));
  const inner = Object.values(whole.properties).flatMap(field =>
    [field, field.items, ...(field.anyOf ?? [])].filter(each => each?.$ref).flatMap(each => fields(each, api, seen)));
  return [element("h3", {}, whole.title), element("p", {}, ...prose(whole.description)),
    element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))), ...inner];
}

function path(url, method, operation, api, seen) {
  const takes = operation.requestBody?.content["application/json"].schema;
  const gives = operation.responses["200"]?.content?.["application/json"]?.schema;
  const token = operation.security ? ` \\\n  -H "Authorization: Bearer TOKEN"` : "";
  const body = takes ? ` \\\n  -H "Content-Type: application/json" \\\n  -d '${JSON.stringify(example(takes, api), null, 1).replaceAll("'", "'\\''")}'` : "";
  return [element("h2", {}, `${method.toUpperCase()} ${url}`), element("p", {}, ...prose(operation.description)),
    element("pre", { tabindex: "0" }, `curl ${location.origin}${url}${token}${body}`),
    ...(takes ? fields(takes, api, seen) : []), ...(gives ? fields(gives, api, seen) : [])];
}

async function show() {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`${(await response.json()).error.problems.join("; ")}.`);
  const api = await response.json();
  $("title").textContent = api.info.title;
  $("about").textContent = api.info.description;
  const seen = new Set();
  $("paths").replaceChildren(...Object.entries(api.paths).flatMap(([url, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) => path(url, method, operation, api, seen))),
    element("h2", {}, "Refusals"), ...fields({ $ref: "#/components/schemas/Error" }, api, seen));
}

show().catch(error => $("paths").replaceChildren(element("p", {}, error.message)));
