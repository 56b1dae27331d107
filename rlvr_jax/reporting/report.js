// What a report does beside being read: choose curves, filter samples, and
// colour tokens. Texts of a run reach the page as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const made = (tag, text = "", kind = "") => {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = kind;
  return element;
};

function chooseClock() {
  for (const input of document.querySelectorAll("input[name=clock]")) {
    const choose = () => {
      if (input.checked) document.body.dataset.clock = input.value;
    };
    input.addEventListener("change", choose);
    choose(); // A browser may remember the choice.
  }
}

function filterSamples() {
  const form = byId("sample-filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("#sample-table tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const { verdict, text, count } = form.elements;
  const filter = () => {
    const wanted = text.value.toLowerCase();
    let shown = 0;
    rows.forEach((row, i) => {
      const isOfVerdict =
        verdict.selectedIndex === 0 || row.dataset.verdict === verdict.value;
      row.hidden = !(isOfVerdict && texts[i].includes(wanted));
      shown += row.hidden ? 0 : 1;
    });
    count.value = `${shown} of ${rows.length}`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}

const number = (value) =>
  value === null ? "not a number" : String(Number(value.toPrecision(4)));

// A token as it can be seen: what is only space has a sign.
const visible = (text) =>
  text === "" ? "\u2205" : text.replaceAll("\n", "\u21b5\n");

function mapTokens() {
  const element = byId("token-data");
  if (!element) return;
  const { columns, steps } = JSON.parse(element.textContent);
  const form = byId("token-choice");
  const told = byId("token-told");
  const { step, column } = form.elements;
  steps.forEach((entry, i) => step.add(new Option(entry.step, i)));
  columns.forEach((entry, i) => column.add(new Option(entry.label, i)));
  step.value = steps.length - 1;

  const tell = (span, row, place) => {
    byId("token-rows").querySelector(".told")?.classList.remove("told");
    span.classList.add("told");
    const values = columns
      .map((entry, i) => [entry.label, row.values[i]?.[place]])
      .filter(([, value]) => value !== undefined)
      .map(([label, value]) => `${label} ${number(value)}`);
    const name = JSON.stringify(row.tokens[place]);
    told.value = `${name}, token ${place + 1}: ${values.join(", ")}`;
  };

  const drawn = (row) => {
    const { bound } = columns[column.value];
    const values = row.values[column.value] ?? [];
    const box = made("div", "", "tokens");
    row.tokens.forEach((text, place) => {
      const value = values[place] ?? 0;
      const span = made("span", visible(text), value < 0 ? "below" : "above");
      const share = Math.min(Math.abs(value) / bound, 1);
      span.style.setProperty("--share", `${Math.round(100 * share)}%`);
      span.dataset.place = place;
      if (values[place] !== undefined) span.title = number(values[place]);
      box.append(span);
    });
    const tellOf = (span) => {
      if (span?.dataset.place) tell(span, row, Number(span.dataset.place));
    };
    for (const kind of ["pointerover", "click"]) {
      box.addEventListener(kind, ({ target }) => tellOf(target));
    }
    // The same by keys: into a response by tab, along it by arrows.
    box.tabIndex = 0;
    box.addEventListener("focus", () => tellOf(box.firstChild));
    box.addEventListener("keydown", ({ key }) => {
      const at = box.querySelector(".told");
      if (key === "ArrowRight") tellOf(at?.nextSibling);
      if (key === "ArrowLeft") tellOf(at?.previousSibling);
    });
    return box;
  };

  const draw = () => {
    const { says, bound, signed } = columns[column.value];
    byId("token-says").textContent = says;
    drawLegend(byId("token-legend"), bound, signed, steps, column.value);
    const rows = steps[step.value].rows.map((row) => {
      const response = made("div", "", "response");
      response.dataset.verdict = row.outcome;
      const head = made("p");
      head.append(made("span", row.outcome, "verdict"));
      head.append(` · reward ${number(row.reward)} · ${row.tokens.length} tokens`);
      response.append(head, drawn(row));
      return [row, response];
    });
    const shown = [];
    let group = null;
    for (const [row, response] of rows) {
      if (row.group !== group) {
        const heading = made("h3", `Prompt ${row.group + 1}`);
        shown.push(heading, made("div", row.prompt, "text"));
      }
      group = row.group;
      shown.push(response);
    }
    byId("token-rows").replaceChildren(...shown);
  };
  form.addEventListener("input", draw);
  draw();
}

function drawLegend(legend, bound, signed, steps, column) {
  const isBelow = steps.some(({ rows }) =>
    rows.some((row) => (row.values[column] ?? []).some((value) => value < 0)),
  );
  const [low, bar, high] = legend.children;
  const from = signed || isBelow ? "var(--below)" : "transparent";
  const to = signed || !isBelow ? "var(--above)" : "transparent";
  const middle = signed ? "transparent, " : "";
  bar.style.background = `linear-gradient(to right, ${from}, ${middle}${to})`;
  low.textContent = number(signed || isBelow ? -bound : 0);
  high.textContent = number(signed || !isBelow ? bound : 0);
}

chooseClock();
filterSamples();
mapTokens();
