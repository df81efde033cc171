// How an answer is shown: for each view of /info a function (answer, what was sent) → {said, shown}. `said` is the answer
// in a sentence, for the status line that screen readers read out; `shown` are the elements below it.

export function element(name, options = {}, ...children) {
  const { class: kind, share, ...attributes } = options;
  const made = document.createElement(name);
  if (kind) made.className = kind;
  // Through an object of the browser: the page's policy allows no styles that are written into it.
  if (share !== undefined) made.style.setProperty("--share", share);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const percent = share => `${(100 * share).toFixed(share > 0.995 || share < 0.005 ? 1 : 0)} %`;

// The server counts characters as Unicode does. JavaScript counts those above U+FFFF twice.
const cut = text => {
  const points = Array.from(text);
  return (start, end) => points.slice(start, end).join("");
};

// The text in pieces, of which `places` are made into elements by `wrap`. Places are in order and do not overlap.
function inPlace(text, places, wrap) {
  const slice = cut(text), pieces = [];
  let end = 0;
  for (const place of places) {
    pieces.push(slice(end, place.start), wrap(slice(place.start, place.end), place));
    end = place.end;
  }
  return [...pieces, slice(end)];
}

function bar(name, text, share, attributes = {}) {
  const fill = element("span", { class: "fill", share });
  const track = element("span", { class: "track", "aria-hidden": "true" }, fill);
  return element(name, attributes, element("span", {}, text), track, element("span", { class: "percent" }, percent(share)));
}

function span(answer, sent) {
  const apart = [];
  for (const each of answer.candidates)
    if (apart.length < 5 && !apart.some(kept => each.start < kept.end && kept.start < each.end)) apart.push(each);
  const passage = element("div", { class: "text", tabindex: "0", role: "group", "aria-label": "Passage" });
  const list = element("ol", { class: "bars" });
  const mark = place => {
    passage.replaceChildren(...inPlace(sent.context, place ? [place] : [], text => element("mark", {}, text)));
    const found = passage.querySelector("mark");
    if (found) passage.scrollTop = found.offsetTop - passage.clientHeight / 2;
    for (const button of list.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(place !== null && Number(button.dataset.start) === place.start && Number(button.dataset.end) === place.end));
  };
  for (const each of apart) {
    const button = bar("button", each.text, each.probability,
      { class: "bar", type: "button", "data-start": each.start, "data-end": each.end });
    button.addEventListener("click", () => mark(each));
    list.append(element("li", {}, button));
  }
  const none = answer.start === null;
  const first = element("p", { class: "big" }, none ? "No answer in the passage" : answer.text);
  const place = none ? "" : `, line ${answer.line}, characters ${answer.start} to ${answer.end}`;
  const shown = [first, element("p", { class: "soft" }, `${percent(answer.score)} sure${place}`), passage,
    element("h3", {}, "Candidates; choose one to see its place"), list];
  const said = none ? "No answer in the passage." : `${answer.text}, ${percent(answer.score)}.`;
  return { said, shown, placed: () => mark(none ? null : answer) };
}

function labels(answer) {
  const given = new Set(answer.labels ?? [answer.text]);
  const rows = answer.candidates.map(each =>
    element("li", {}, bar("div", each.text + (given.has(each.text) ? " ✓" : ""), each.probability,
      { class: given.has(each.text) ? "bar given" : "bar" })));
  const names = [...given].join(", ") || "no label";
  const sure = `${percent(answer.score)} sure`;
  return { said: `${names}, ${sure}.`, shown: [element("p", { class: "big" }, names),
    element("p", { class: "soft" }, sure), element("ol", { class: "bars" }, ...rows)] };
}

function number(answer) {
  return { said: `${answer.text}.`, shown: [element("p", { class: "big" }, answer.text)] };
}

function tags(answer, sent) {
  const text = sent.text;
  // Entities where the tags mark some; else the tag of every word.
  const marked = answer.entities.length ? answer.entities.map(each => ({ ...each, tag: each.type }))
    : answer.words.filter(each => each.tag !== "O").map(each => ({ ...each, score: each.probability }));
  const counts = new Map();
  for (const each of marked) counts.set(each.tag, (counts.get(each.tag) ?? 0) + 1);
  const names = [...counts.keys()].sort();
  const hue = tag => `tag hue-${names.indexOf(tag) % 8}`;
  const sentence = element("div", { class: "text tagged" }, ...inPlace(text, marked, (part, each) =>
    element("span", { class: hue(each.tag), title: `${each.tag}, ${percent(each.score)}` }, part,
      element("small", {}, each.tag))));
  const legend = names.map(tag => element("li", {}, element("span", { class: hue(tag) }, tag), ` ${counts.get(tag)}`));
  const found = marked.map(each => `${each.text} (${each.tag})`);
  const said = !found.length ? "No word is tagged." : found.length > 8 ? `${found.length} are tagged.` : `${found.join(", ")}.`;
  return { said, shown: [sentence, element("ul", { class: "legend", "aria-label": "Legend" }, ...legend),
    element("p", { class: "soft" }, `${percent(answer.score)} sure of a tag, on average`)] };
}

function text(answer, sent) {
  const side = (title, content) => element("div", {}, element("h3", {}, title), element("div", { class: "text" }, content));
  return { said: answer.text, shown: [
    element("div", { class: "sides" }, side("Source", sent.source), side("Written by the model", answer.text)),
    element("p", { class: "soft" }, `${percent(answer.score)} sure of a token, on average`)] };
}

export const VIEWS = { span, labels, number, tags, text };

const SHOWN = 6;

// The words of an explanation, shaded by weight, and the heaviest of them as a table.
export function reasons(why) {
  const strongest = Math.max(...why.words.map(each => Math.abs(each.weight)), 1e-12);
  const texts = why.texts.flatMap(({ name, text: whole }, number) => {
    const its = why.words.filter(each => each.text === number);
    if (!its.length) return [];
    const [first, last] = [its[0].start, its[its.length - 1].end];
    const read = cut(whole)(first, last);
    const moved = its.map(each => ({ ...each, start: each.start - first, end: each.end - first }));
    const pieces = inPlace(read, moved, (part, { weight }) => element("span",
      { class: `word ${weight > 0 ? "for" : "against"}`, share: Math.abs(weight) / strongest, title: weight.toFixed(3) }, part));
    return [element("h3", {}, name[0].toUpperCase() + name.slice(1)),
      element("div", { class: "text" }, first > 0 ? "… " : "", ...pieces, last < Array.from(whole).length ? " …" : "")];
  });
  const heaviest = [...why.words].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, SHOWN);
  const rows = heaviest.map(({ text: number, start, end, weight }) => element("tr", {},
    element("td", {}, cut(why.texts[number].text)(start, end)), element("td", {}, why.texts[number].name),
    element("td", { class: "number" }, (weight > 0 ? "+" : "") + weight.toFixed(2))));
  const head = element("tr", {}, ...["word", "in", "adds"].map(title => element("th", { scope: "col" }, title)));
  return [
    element("p", {}, `What each word adds to ${why.explained}, by integrated gradients:`,
      " green adds to it, dotted red takes from it."),
    ...texts, element("h3", {}, "The words that weigh most"),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))];
}
