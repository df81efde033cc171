// The page: asks /info what the model reads, makes a form of it, sends it to /predict, and shows the answer.

import { VIEWS, element, reasons } from "/views.js";

const $ = id => document.getElementById(id);
let info, token = "", sent = null, asked = 0;

async function call(path, body) {
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  } catch {
    throw new Error("The server does not answer.");
  }
  const found = await response.json();
  if (response.ok) return found;
  const { problems, remedy } = found.error;
  throw Object.assign(new Error(`${problems.join("; ")}. To do: ${remedy}.`), { status: response.status });
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

async function begin() {
  try {
    info = await call("/info");
  } catch (error) {
    $("login").hidden = error.status !== 401;
    if (error.status === 401 && !token) $("token").focus();
    else say(error.message, true);
    return;
  }
  say("");
  $("login").hidden = true;
  document.title = `${info.model} · llmkit serve`;
  $("model").textContent = info.model;
  $("about").textContent = `${info.title}. Runs on ${info.runs_on}.`;
  $("fields").replaceChildren(...info.fields.flatMap(field));
  $("ask").hidden = false;
  $("no-why").textContent = info.no_why === null ? "" : `No explanation: ${info.no_why}.`;
  $("explain").hidden = info.no_why !== null;
  $("fields").querySelector("input, textarea").focus();
}

function field({ name, title, lines }) {
  const line = lines === 1;
  const input = element(line ? "input" : "textarea", { id: `field-${name}`, name, ...(line ? { type: "text" } : { rows: lines }), spellcheck: "false" });
  if (line) input.autocomplete = "off";
  else takesFiles(input);
  return [element("label", { for: input.id }, title), input];
}

function takesFiles(area) {
  const over = on => event => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    area.classList.toggle("over", on);
  };
  area.addEventListener("dragover", over(true));
  area.addEventListener("dragleave", over(false));
  area.addEventListener("drop", event => {
    over(false)(event);
    if (event.dataTransfer.files.length) read(event.dataTransfer.files[0], area);
  });
}

async function read(file, area) {
  if (file.size > 4 * info.limits.characters) {
    say(`${file.name} is too large: a request may have ${info.limits.characters.toLocaleString("en")} characters.`, true);
    return;
  }
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    say(`${file.name} is no text in UTF-8.`, true);
    return;
  }
  area.value = text;
  area.focus();
  area.setSelectionRange(0, 0);
  say(`${file.name} is in the text.`);
}

function inputs() {
  return Object.fromEntries(info.fields.map(({ name }) => [name, $(`field-${name}`).value]));
}

async function ask() {
  const mine = ++asked, given = inputs();
  $("send").disabled = true;
  say("Reading …");
  try {
    const answer = await call("/predict", given);
    if (mine !== asked) return;
    sent = given;
    const { said, shown, placed } = VIEWS[info.view](answer, given);
    $("shown").replaceChildren(...shown);
    $("reasons").replaceChildren();
    $("answer").hidden = $("why").hidden = false;
    placed?.();  // once it has a size
    say(said);
  } catch (error) {
    $("answer").hidden = $("why").hidden = true;
    say(error.message, true);
  } finally {
    $("send").disabled = false;
  }
}

async function explain() {
  const mine = asked;
  $("explain").disabled = true;
  $("reasons").replaceChildren(element("p", {}, "Weighing the words, which takes some seconds …"));
  try {
    const why = await call("/explain", sent);
    if (mine === asked) $("reasons").replaceChildren(...reasons(why));
  } catch (error) {
    $("reasons").replaceChildren(element("p", {}, error.message));
  } finally {
    $("explain").disabled = false;
  }
}

$("ask").addEventListener("submit", event => { event.preventDefault(); ask(); });
$("ask").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); $("ask").requestSubmit(); }
});
$("login").addEventListener("submit", event => { event.preventDefault(); token = $("token").value; begin(); });
$("explain").addEventListener("click", explain);
$("example").addEventListener("click", () => {
  for (const { name, example } of info.fields) $(`field-${name}`).value = example;
  $("send").focus();
});
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", event => {
  if (event.target.files.length) read(event.target.files[0], $("fields").querySelector("textarea"));
  event.target.value = "";
});
begin();
