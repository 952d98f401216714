// Two stages side by side.

const CONTEXT = 3; // lines that stay around what changed
const FOLDED_FROM = 12; // equal lines from which on they are folded

class DiffView {
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.shown = null;
    byId("diff").addEventListener("click", (event) => {
      const cell = event.target.closest(".node");
      if (cell) this.onSelect(Number(cell.dataset.item));
    });
  }

  // Show what a stage changed since the stage before it, or since the capture.
  show(fn, number, against) {
    const key = [fn, number, against].join();
    if (key === this.shown) return;
    this.shown = key;
    const stage = report.functions[fn].stages[number];
    const stages = report.functions[fn].stages;
    const first = against === "whole" ? stages[0] : stages[Math.max(0, number - 1)];
    this.before = first.drawing.text.map((line) => report.lines[line]);
    this.after = stage.drawing.text.map((line) => report.lines[line]);
    this.drawing = stage.drawing;
    this.cells = new Map();
    const blocks = this.blocks(fn, number, against);
    const rows = blocks.flatMap((block) => this.block(block));
    byId("diff").replaceChildren(...rows);
    this.tell(blocks);
  }

  blocks(fn, number, against) {
    const { stages } = report.functions[fn];
    const length = this.after.length;
    const equal = [["equal", 0, this.before.length, 0, length]];
    if (number === 0) return equal;
    if (against === "diff") return stages[number].same ? equal : stages[number].diff;
    let source = number;
    while (stages[source].same) source -= 1;
    return source === 0 ? equal : stages[source].whole;
  }

  tell(blocks) {
    const sum = (tags, from, to) => blocks.filter(([tag]) => tags.includes(tag))
      .reduce((total, block) => total + block[to] - block[from], 0);
    const gone = sum(["delete", "replace"], 1, 2);
    const come = sum(["insert", "replace"], 3, 4);
    byId("diff-count").textContent =
      gone + come ? `${count(gone)} lines gone, ${count(come)} lines new` : "no change";
  }

  block([tag, i, j, k, m]) {
    if (tag === "equal" && j - i > FOLDED_FROM) return this.folded(i, j, k);
    const rows = [];
    for (let row = 0; row < Math.max(j - i, m - k); row += 1) {
      rows.push(this.row(i + row < j ? i + row : null, k + row < m ? k + row : null, tag));
    }
    return rows;
  }

  folded(i, j, k) {
    const size = j - i;
    const head = i === 0 ? 0 : CONTEXT;
    const range = (from, to) => Array.from({ length: to - from }, (_, n) =>
      this.row(i + from + n, k + from + n, "equal"));
    const tail = j === this.before.length ? 0 : CONTEXT;
    // A text in which nothing changed is there to be read.
    if (head + tail === 0) return range(0, size);
    const hidden = size - head - tail;
    const button = element("button", { type: "button", className: "fold" },
      `⋯ ${count(hidden)} equal lines`);
    const open = () => button.replaceWith(...range(head, size - tail));
    button.addEventListener("click", open);
    for (let line = k + head; line < k + size - tail; line += 1) this.cells.set(line, open);
    return [...range(0, head), button, ...range(size - tail, size)];
  }

  row(before, after, tag) {
    const changed = tag !== "equal";
    const left = this.cell(this.before, before, changed ? "removed" : "");
    const right = this.cell(this.after, after, changed ? "added" : "");
    if (after !== null) {
      this.cells.set(after, right);
      const item = this.drawing.lineItems.get(after);
      if (item !== undefined) {
        right.classList.add("node");
        right.dataset.item = item;
      }
    }
    return element("div", { className: "block" }, left, right);
  }

  cell(lines, number, name) {
    if (number === null) return element("div", { className: "void" });
    const line = lines[number];
    const comment = line.indexOf(" # ");
    const cell = element("div", { className: name, title: line.trim(), dataset: { line: number + 1 } });
    if (comment < 0) cell.append(line);
    else {
      const code = line.slice(0, comment).trimEnd();
      cell.append(code, element("span", { className: "comment" }, `  ${line.slice(comment + 1)}`));
    }
    return cell;
  }

  // Mark the line of an item.
  select(id, move) {
    byId("diff").querySelector(".chosen")?.classList.remove("chosen");
    const line = id === null ? undefined : this.drawing?.items[id]?.n;
    if (line === undefined || !this.cells) return;
    if (typeof this.cells.get(line - 1) === "function") this.cells.get(line - 1)();
    const cell = this.cells.get(line - 1);
    cell?.classList.add("chosen");
    if (move) cell?.scrollIntoView({ block: "nearest" });
  }
}
