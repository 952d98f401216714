// The page of `brainir explore`: it follows the script.

const KEPT = "brainir explore"; // where the view is kept while the page is loaded anew

function keepView() {
  const { cy } = graphView;
  const where = { zoom: cy.zoom(), pan: cy.pan(), at: [location.hash, cy.width(), cy.height()].join() };
  sessionStorage.setItem(KEPT, JSON.stringify({ ...where, beside: byId("beside").checked }));
}

function restoreView() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
  byId("beside").checked = kept.beside ?? innerWidth > 1100;
  if (!report.functions.length || view.tab !== "graph") return;
  const { cy } = graphView;
  showTab("graph");
  if (kept.at === [location.hash, cy.width(), cy.height()].join()) cy.viewport(kept);
  else graphView.fit();
}

function tell({ running, error, place: where, lines }) {
  const shown = lines.map(([number, text]) => `${number === where?.line ? ">" : " "} ${number}  ${text}`);
  const failed = error
    ? [where && `${where.file}:${where.line}`, ...shown, error, "The graphs are those of the last run that compiled any."]
    : [];
  const text = [...failed, running ? "The script is running ..." : ""].filter(Boolean).join("\n");
  byId("live").textContent = text;
  byId("live").hidden = !text;
  byId("live").classList.toggle("failed", Boolean(error));
}

function follow() {
  const events = new EventSource("events");
  events.addEventListener("message", (event) => {
    const state = JSON.parse(event.data);
    if (state.number === report.number) tell(state);
    else {
      events.close();
      keepView();
      location.reload();
    }
  });
  events.addEventListener("error", () => {
    byId("live").textContent = "brainir explore has ended, or cannot be reached.";
    byId("live").hidden = false;
  });
}

restoreView();
follow();
