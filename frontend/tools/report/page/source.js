// The user's source, and what is known of the selected node.

class SourceView {
  constructor(onLine) {
    this.file = null;
    this.drawing = null;
    this.onLine = onLine;
    report.files.forEach((file, number) => {
      byId("file").append(element("option", { value: number }, file.path.split(/[\\/]/).pop()));
    });
    byId("file").addEventListener("change", () => this.open(Number(byId("file").value)));
    const choose = (event) => {
      const row = event.target.closest(".made");
      if (row) this.onLine(this.file, Number(row.dataset.line));
    };
    byId("source").addEventListener("click", choose);
    byId("source").addEventListener("keydown", (event) => event.key === "Enter" && choose(event));
  }

  show(drawing) {
    this.drawing = drawing;
    this.open(this.file ?? 0, true);
  }

  open(file, again = false) {
    if (file === this.file && !again) return;
    this.file = file;
    if (!report.files.length) return;
    byId("file").value = String(file);
    byId("file").title = report.files[file].path;
    const made = new Set();
    for (const item of this.drawing?.items ?? []) {
      const where = place(item);
      if (where?.file === file) made.add(where.line);
    }
    byId("source").replaceChildren(...report.files[file].lines.map((text, i) => {
      const row = element("div", { dataset: { line: i + 1 } }, text);
      if (made.has(i + 1)) {
        row.className = "made";
        row.tabIndex = 0;
      }
      return row;
    }));
    if (!report.files[file].lines.length) {
      byId("source").replaceChildren(element("p", { className: "note" }, "This file cannot be read."));
    }
  }

  // Mark the line of a place, or none.
  mark(where) {
    if (where) this.open(where.file);
    for (const row of byId("source").querySelectorAll(".chosen")) row.classList.remove("chosen");
    const row = where && byId("source").children[where.line - 1];
    row?.classList.add("chosen");
    row?.scrollIntoView({ block: "center" });
  }
}

function details(drawing, id, onSelect) {
  if (id === null) {
    return [element("p", { className: "note" },
      "Select a node, a line of the text or a line of the source. Press ? for keys.")];
  }
  const item = drawing.items[id];
  const where = place(item);
  const rows = [];
  const add = (title, ...value) => rows.push(element("dt", {}, title), element("dd", {}, ...value));
  if (item.v) add("gives", code(item.v));
  if (item.t) add("type", code(item.t));
  if (item.s) add("state", swatch(item.s - 1), code(`@${drawing.states[item.s - 1].name}`));
  if (item.f || item.b) {
    const times = item.x ?? 1;
    add("one run", `${count(item.f ?? 0)} flops, ${bytes(item.b ?? 0)}`);
    if (times > 1) {
      add(`${count(times)} runs`, `${count((item.f ?? 0) * times)} flops, ${bytes((item.b ?? 0) * times)}`);
    }
  }
  if (item.m) add("measured", `${duration(item.m / 1e6)} when the script ran it`);
  if (where) add("source", where.name);
  const ends = (title, links, end) => {
    if (!links.length) return;
    const shown = links.slice(0, 12).flatMap((edge, i) => [
      i ? ", " : "",
      link(`${drawing.edges[edge][2]} ${drawing.items[drawing.edges[edge][end]].l}`,
        () => onSelect(drawing.edges[edge][end])),
    ]);
    add(title, ...shown, links.length > 12 ? ` and ${links.length - 12} more` : "");
  };
  ends("from", drawing.into[id], 0);
  ends("to", drawing.from[id], 1);
  if (item.n) add("text", code(report.lines[drawing.text[item.n - 1]].split(" # ")[0].trim()));
  return [element("h2", {}, item.l), element("dl", {}, ...rows)];
}
