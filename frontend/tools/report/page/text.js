// The text of a stage, beside its drawing.

class TextView {
  constructor(onSelect) {
    this.shown = null;
    byId("text").addEventListener("click", (event) => {
      const line = event.target.closest(".node");
      if (line) onSelect(Number(line.dataset.item));
    });
  }

  show(drawing) {
    if (drawing === this.shown) return;
    this.shown = drawing;
    byId("text").replaceChildren(...drawing.text.map((number, line) => {
      const [code] = report.lines[number].split(" # ");
      const item = drawing.lineItems.get(line);
      const row = element("div", { title: report.lines[number].trim() }, code.trimEnd());
      if (item !== undefined) {
        row.className = "node";
        row.dataset.item = item;
      }
      return row;
    }));
  }

  select(id) {
    byId("text").querySelector(".chosen")?.classList.remove("chosen");
    const line = id === null ? undefined : this.shown?.items[id]?.n;
    const row = line === undefined ? null : byId("text").children[line - 1];
    row?.classList.add("chosen");
    row?.scrollIntoView({ block: "nearest", inline: "start" });
  }
}
