// The page as a whole: what is shown, and what the keys do.

const TABS = [
  ["graph", "Graph"], ["diff", "Diff"], ["states", "States"], ["cost", "Cost"],
  ["memory", "Memory"], ["time", "Time"],
];
const view = { fn: 0, stage: 0, tab: "graph", selected: null, hits: [], hit: -1 };

const graphView = new GraphView((id) => select(id));
const diffView = new DiffView((id) => select(id));
const textView = new TextView((id) => select(id));
const sourceView = new SourceView(selectLine);

const fnNow = () => report.functions[view.fn];
const stageNow = () => fnNow().stages[view.stage];
const drawingNow = () => stageNow().drawing;

function showFunction(number) {
  view.fn = number;
  byId("function").value = String(number);
  byId("stage").max = String(fnNow().stages.length - 1);
  const problem = [report.error, fnNow().problem].filter(Boolean).join("\n");
  byId("options").textContent = fnNow().options ? `Options: ${fnNow().options}` : "";
  byId("options").hidden = !fnNow().options;
  byId("problem").textContent = problem;
  byId("problem").hidden = !problem;
  showStage(Math.min(view.stage, fnNow().stages.length - 1));
}

function showStage(number) {
  const { stages } = fnNow();
  view.stage = Math.max(0, Math.min(number, stages.length - 1));
  const stage = stageNow();
  byId("stage").value = String(view.stage);
  byId("stage").setAttribute("aria-valuetext", stage.name);
  byId("stage-name").replaceChildren(`${stage.name} `, element("small", {},
    `${view.stage} of ${stages.length - 1}, ${count(stage.nodes)} nodes${stage.same ? ", no change" : ""}`));
  view.selected = null;
  graphView.selected = null;
  search(false);
  sourceView.show(drawingNow());
  showLegend();
  showTab(view.tab);
  select(null);
  remember();
}

function showTab(name) {
  view.tab = name;
  for (const [tab] of TABS) {
    byId(`view-${tab}`).hidden = tab !== name;
    const button = byId(`tab-${tab}`);
    button.setAttribute("aria-selected", String(tab === name));
    button.tabIndex = tab === name ? 0 : -1;
  }
  const fill = (parts) => byId(`view-${name}`).replaceChildren(...parts);
  if (name === "graph") {
    byId("text").hidden = !byId("beside").checked;
    if (byId("beside").checked) textView.show(drawingNow());
    textView.select(view.selected);
    graphView.cy.resize();
    graphView.show(drawingNow());
    graphView.highlight(view.hits);
    graphView.select(view.selected, false);
  } else if (name === "diff") {
    diffView.show(view.fn, view.stage, byId("against").value);
    diffView.select(view.selected, true);
  } else if (name === "states") fill(statesTable(fnNow(), findState));
  else if (name === "cost") fill(costTable(fnNow(), stageNow(), selectInGraph));
  else if (name === "memory") fill(memoryTables(fnNow(), selectInLast));
  else fill(timeTables(fnNow(), (stage) => { showTab("diff"); showStage(stage); }, selectInLast));
  remember();
}

function select(id) {
  view.selected = id;
  byId("details").replaceChildren(...details(drawingNow(), id, select));
  sourceView.mark(id === null ? null : place(drawingNow().items[id]));
  if (view.tab === "graph") {
    graphView.select(id, id !== null && !isInView(id));
    textView.select(id);
  }
  if (view.tab === "diff") diffView.select(id, true);
}

function isInView(id) {
  const node = graphView.cy.$id(`i${id}`);
  if (node.empty()) return false;
  const { x, y } = node.renderedPosition();
  return x > 20 && y > 20 && x < graphView.cy.width() - 20 && y < graphView.cy.height() - 20
    && graphView.cy.zoom() > 0.3;
}

function selectInGraph(id) {
  showTab("graph");
  select(id);
}

function selectInLast(id) {
  view.tab = "graph";
  showStage(fnNow().stages.length - 1);
  select(id);
}

function selectLine(file, line) {
  const ids = drawingNow().items.flatMap((item, id) => {
    const where = place(item);
    return where?.file === file && where.line === line ? [id] : [];
  });
  setHits(ids, `${ids.length} on line ${line}`);
}

function findState(state) {
  showTab("graph");
  const ids = drawingNow().items.flatMap((item, id) =>
    (item.s && fnNow().states[item.s - 1].name === state.name ? [id] : []));
  setHits(ids, `${ids.length} of @${state.name}`);
}

function setHits(ids, text) {
  view.hits = ids;
  view.hit = ids.length ? 0 : -1;
  byId("found").textContent = text;
  graphView.highlight(ids);
  if (ids.length) select(ids[0]);
}

function search(move) {
  const query = byId("query").value.trim().toLowerCase();
  const drawing = drawingNow();
  const ids = query
    ? drawing.items.flatMap((_, id) => (drawing.words(id).includes(query) ? [id] : []))
    : [];
  view.hits = ids;
  view.hit = -1;
  byId("found").textContent = query ? `${count(ids.length)} found` : "";
  if (move) {
    graphView.highlight(ids);
    if (ids.length) nextHit(1);
  }
}

function nextHit(step) {
  if (!view.hits.length) return;
  view.hit = (view.hit + step + view.hits.length) % view.hits.length;
  byId("found").textContent = `${view.hit + 1} of ${count(view.hits.length)}`;
  select(view.hits[view.hit]);
}

function showLegend() {
  byId("legend").replaceChildren(...fnNow().states.map((state, number) => {
    const button = link("", () => findState(state));
    button.append(swatch(number), `@${state.name}`);
    return button;
  }));
}

function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  graphView.drawing = null;
  showLegend();
  showTab(view.tab);
}

// The address says what is shown, so that a reload shows it again.
function remember() {
  history.replaceState(null, "", `#${view.fn}/${fnNow().stages[view.stage].name}/${view.tab}`);
}

function recall() {
  const [fn, name, tab] = location.hash.slice(1).split("/");
  const number = Number(fn);
  if (!report.functions[number]) return report.functions[0].stages.length - 1;
  view.fn = number;
  if (TABS.some(([known]) => known === tab)) view.tab = tab;
  const stage = report.functions[number].stages.findIndex((one) => one.name === name);
  return stage < 0 ? report.functions[number].stages.length - 1 : stage;
}

function onKey(event) {
  const { key } = event;
  const typing = event.target.matches("input[type=search], select");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === "Escape") {
    event.target.blur();
    byId("query").value = "";
    search(true);
    select(null);
  }
  if (typing) return;
  const inGraph = view.tab === "graph" && (event.target === byId("canvas") || event.target === document.body);
  const graphKeys = {
    "+": () => graphView.zoom(1.3), "-": () => graphView.zoom(1 / 1.3), 0: () => graphView.fitAll(),
    Enter: () => graphView.toggle(view.selected),
    ArrowUp: () => graphView.step("up"), ArrowDown: () => graphView.step("down"),
    ArrowLeft: () => graphView.step("left"), ArrowRight: () => graphView.step("right"),
  };
  const keys = {
    "[": () => showStage(view.stage - 1), "]": () => showStage(view.stage + 1),
    "/": () => byId("query").focus(), "?": () => byId("help").showModal(),
  };
  TABS.forEach(([tab], i) => { keys[i + 1] = () => showTab(tab); });
  const action = keys[key] ?? (inGraph ? graphKeys[key] : undefined);
  if (!action) return;
  event.preventDefault();
  action();
}

// Where a failed script compiled nothing, there is only its error and its source.
function start() {
  byId("title").textContent = report.title;
  byId("title").title = report.versions;
  report.functions.forEach((fn, number) => {
    byId("function").append(element("option", { value: number },
      `${fn.title}  (${count(fn.stages.at(-1).nodes)} nodes)`));
  });
  TABS.forEach(([name, title], i) => {
    const button = element("button", { type: "button", id: `tab-${name}`, title: `Key ${i + 1}` }, title);
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", `view-${name}`);
    button.addEventListener("click", () => showTab(name));
    byId("tabs").append(button);
  });
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const now = TABS.findIndex(([name]) => name === view.tab);
    const [name] = TABS[(now + step + TABS.length) % TABS.length];
    showTab(name);
    byId(`tab-${name}`).focus();
  });
  listen();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  if (report.functions.length) {
    view.stage = recall();
    showFunction(view.fn);
  } else {
    document.body.classList.add("empty");
    byId("problem").textContent = report.error ?? "";
    byId("problem").hidden = !report.error;
    sourceView.show(null);
  }
  if (report.failed >= 0) sourceView.mark(place({ c: report.failed + 1 }));
  byId("problem").scrollTop = byId("problem").scrollHeight; // where a traceback says what it is
}

function listen() {
  const on = (id, kind, action) => byId(id).addEventListener(kind, action);
  on("function", "change", () => {
    view.stage = report.functions[byId("function").value].stages.length - 1;
    showFunction(Number(byId("function").value));
  });
  on("stage", "input", () => showStage(Number(byId("stage").value)));
  on("earlier", "click", () => showStage(view.stage - 1));
  on("later", "click", () => showStage(view.stage + 1));
  on("query", "input", () => search(true));
  on("query", "keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    nextHit(event.shiftKey ? -1 : 1);
  });
  on("find", "submit", (event) => event.preventDefault());
  on("fit", "click", () => graphView.fitAll());
  on("zoom-in", "click", () => graphView.zoom(1.3));
  on("zoom-out", "click", () => graphView.zoom(1 / 1.3));
  on("open-all", "click", () => graphView.openAll(true));
  on("close-all", "click", () => graphView.openAll(false));
  on("near", "change", () => {
    graphView.near = byId("near").checked;
    graphView.draw(true);
  });
  on("beside", "change", () => {
    showTab("graph");
    graphView.fitAll();
  });
  on("shade", "change", () => {
    graphView.shade = byId("shade").value;
    graphView.restyle();
  });
  on("against", "change", () => diffView.show(view.fn, view.stage, byId("against").value));
  on("help-button", "click", () => byId("help").showModal());
  on("theme", "click", () => useTheme(isDark() ? "light" : "dark"));
  if (report.functions.length) addEventListener("keydown", onKey);
}

start();
