// Tables of states, costs, memory and time.

const COSTS_SHOWN = 100;

// Make a table; columns are [title, cell of a row, whether it is a number].
function makeTable(columns, rows) {
  const head = element("tr", {}, ...columns.map(([title, , number]) =>
    element("th", { className: number ? "number" : "", scope: "col" }, title)));
  const body = rows.map((row) => element("tr", {}, ...columns.map(([, cell, number]) => {
    const value = cell(row);
    return element("td", { className: number ? "number" : "" }, value ?? "");
  })));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function heading(text) {
  return element("h2", {}, text);
}

function note(text) {
  return element("p", { className: "note" }, text);
}

function code(text) {
  return element("code", {}, text);
}

function link(text, action) {
  const button = element("button", { type: "button", className: "link" }, text);
  button.addEventListener("click", action);
  return button;
}

function gauge(value, most) {
  const bar = element("span", { className: "gauge" });
  bar.style.width = `${Math.round((160 * value) / Math.max(most, 1e-12))}px`;
  return bar;
}

function swatch(number) {
  const mark = element("span", { className: "swatch" });
  mark.style.background = stateColour(number);
  return mark;
}

function statesTable(fn, onState) {
  if (!fn.states.length) return [note("This function reads and writes no state.")];
  const columns = [
    ["state", (s) => element("span", {}, swatch(s.number), link(`@${s.name}`, () => onState(s)))],
    ["kind", (s) => s.kind],
    ["shape", (s) => code(s.types.join(", "))],
    ["unit", (s) => s.unit],
    ["size", (s) => bytes(s.bytes), true],
    ["read", (s) => count(s.read), true],
    ["written", (s) => count(s.written), true],
    ["in the end", (s) => fate(s)],
  ];
  return [
    makeTable(columns, fn.states.map((state, number) => ({ ...state, number }))),
    note("Read and written: places in the captured graph. Carried: its value goes from step to "
      + "step of a loop. Hoisted: a loop used it, and now it is read once before the loop."),
  ];
}

function fate(state) {
  if (state.carried.length) return `carried by ${state.carried.join(", ")}`;
  return state.hoisted ? "hoisted out of its loops" : "read and written outside loops";
}

function costTable(fn, stage, onSelect) {
  const { items } = stage.drawing;
  const rows = items.map((item, id) => ({ item, id, times: item.x ?? 1 }))
    .filter(({ item, times }) => item.k === "op" && times && (item.f || item.b))
    .map((row) => ({ ...row, flops: (row.item.f ?? 0) * row.times, bytes: (row.item.b ?? 0) * row.times }))
    .sort((one, other) => other.flops - one.flops || other.bytes - one.bytes);
  const flops = rows.reduce((sum, row) => sum + row.flops, 0);
  const moved = rows.reduce((sum, row) => sum + row.bytes, 0);
  const most = rows[0]?.flops ?? 1;
  const columns = [
    ["node", (row) => link(row.item.l, () => onSelect(row.id))],
    ["flops", (row) => count(row.flops), true],
    ["of all", (row) => `${((100 * row.flops) / Math.max(flops, 1)).toFixed(1)} %`, true],
    ["", (row) => gauge(row.flops, most)],
    ["moved", (row) => bytes(row.bytes), true],
    ["runs", (row) => count(row.times), true],
    ["result", (row) => code(row.item.t ?? "")],
    ["source", (row) => place(row.item)?.name],
  ];
  const shown = rows.slice(0, COSTS_SHOWN);
  return [
    heading(`Nodes after ${stage.name}, the most expensive first`),
    note(`${count(flops)} flops and ${bytes(moved)} moved in ${count(rows.length)} nodes, if `
      + "nothing is fused. A node counts as often as its loops run it; of a cond only the most "
      + "expensive branch counts, and of a while one step."
      + (rows.length > shown.length ? ` The first ${shown.length} are shown.` : "")),
    makeTable(columns, shown),
    ...xlaWork(fn),
  ];
}

// What XLA counts is much less: it fuses, and takes every loop to run once.
function xlaWork({ xla }) {
  if (!xla || xla.flops === null) return [];
  const parts = [`${count(xla.flops)} flops`];
  if (xla.transcendentals !== null) parts.push(`${count(xla.transcendentals)} of sin, exp and the like`);
  if (xla.bytes !== null) parts.push(`${bytes(xla.bytes)} moved`);
  return [
    heading("What XLA counts"),
    note(`${parts.join(", ")}: after fusion, and with every loop as if it ran once.`),
  ];
}

function memoryTables(fn, onLast) {
  const { costs, residuals } = fn;
  const parts = [heading("What the gradient keeps")];
  if (residuals.length) {
    const total = residuals.reduce((sum, row) => sum + row.bytes, 0);
    parts.push(
      note(`${bytes(total)} wait for loops that run in the other direction: each of these values `
        + "is kept at every step."),
      makeTable([
        ["kept value", (row) => link(row.op, () => onLast(row.item))],
        ["size", (row) => bytes(row.bytes), true],
        ["", (row) => gauge(row.bytes, residuals[0].bytes)],
        ["all steps", (row) => code(row.type)],
        ["loop", (row) => row.loop],
        ["source", (row) => place({ c: row.place + 1 })?.name],
      ], residuals),
    );
  } else parts.push(note("No loop keeps anything for a gradient."));
  if (costs.loops.length) {
    parts.push(heading("Loops"), makeTable([
      ["loop", (row) => row.name || "(backward)"],
      ["source", (row) => row.place],
      ["steps", (row) => count(row.length), true],
      ["nodes", (row) => count(row.nodes), true],
      ["carried", (row) => bytes(row.carried), true],
      ["stacked", (row) => bytes(row.stacked), true],
      ["of it for gradients", (row) => bytes(row.residuals), true],
    ], costs.loops));
  }
  if (fn.again.length) {
    parts.push(
      heading("What the gradient computes again"),
      note("Of each group of steps only the start is kept, to stay within the memory that was asked for. "
        + "Backwards, a group runs once more, and its steps keep what they need until it is done."),
      makeTable([
        ["loop", (row) => row.loop],
        ["source", (row) => place({ c: row.place + 1 })?.name],
        ["groups", (row) => count(row.groups), true],
        ["steps of a group", (row) => count(row.steps), true],
        ["kept by a group at work", (row) => bytes(row.bytes), true],
      ], fn.again),
    );
  }
  if (fn.split.length) {
    const leaves = (row) => [[row.products, "product"], [row.sums, "sum of products"]]
      .filter(([number]) => number).map(([number, what]) => `${number} × ${what}`).join(", ") || "nothing";
    parts.push(
      heading("What leaves loops"),
      note("Products that need not wait for the step before are computed for many steps at once, where the "
        + "machine gains by it: an estimate, from its caches and rates."),
      makeTable([
        ["loop", (row) => row.loop],
        ["source", (row) => place({ c: row.place + 1 })?.name],
        ["leaves", leaves],
        ["steps at once", (row) => (row.block ? `${count(row.block)} of ${count(row.length)}` : ""), true],
        ["saves about", (row) => (row.block ? duration(row.gain) : ""), true],
        ["why", (row) => row.why],
      ], fn.split),
    );
  }
  if (fn.kernels.length) {
    parts.push(
      heading("Kernels"),
      note("A loop that gains by it is one piece of machine code; the others are left to XLA."),
      makeTable([
        ["loop", (row) => row.loop],
        ["source", (row) => place({ c: row.place + 1 })?.name],
        ["", (row) => (row.kernel ? "a kernel" : "XLA")],
        ["why not", (row) => row.why],
      ], fn.kernels),
    );
    fn.code.forEach((text, i) => {
      const details = element("details", {}, element("summary", {}, `code of kernel ${i + 1}, before LLVM's passes`));
      details.append(element("pre", {}, text));
      parts.push(details);
    });
  }
  const held = [["states", costs.states, costs.state_bytes], ["consts", costs.consts, costs.const_bytes]];
  parts.push(heading("What the function holds"), makeTable([
    ["", (row) => row[0]],
    ["how many", (row) => count(row[1]), true],
    ["size", (row) => bytes(row[2]), true],
  ], held));
  if (fn.xla) {
    // A size of 0 means that there is nothing, or that this device does not tell.
    const said = ["arguments", "results", "temporaries", "code"].filter((name) => fn.xla[name]);
    parts.push(heading("What XLA plans"), makeTable([
      ["", (name) => name],
      ["size", (name) => bytes(fn.xla[name]), true],
    ], said));
    if (fn.xla.temporaries) {
      parts.push(note("Temporaries are in memory only while the function runs; what loops keep for the "
        + "gradient is among them."));
    }
  }
  return parts;
}

function timeTables(fn, onStage, onLast) {
  return [...runTables(fn, onLast), ...compileTable(fn, onStage)];
}

// How long calls took while the script ran.
function runTables({ timed }, onLast) {
  if (!timed) return [];
  const calls = [["the first call, which compiles", 1, timed.first]];
  if (timed.later) calls.push(["each later call, the median", timed.later, timed.usual]);
  const parts = [
    heading("Time to run"),
    makeTable([
      ["", (row) => row[0]],
      ["calls", (row) => count(row[1]), true],
      ["time", (row) => duration(row[2]), true],
    ], calls),
  ];
  if (timed.later) parts.push(note(`${duration(timed.total)} in all later calls, until their results were there.`));
  if (timed.why) parts.push(note(`How long its parts take is not known: ${timed.why}.`));
  if (timed.parts.length) {
    const total = timed.parts.reduce((sum, row) => sum + row.seconds, 0);
    const most = Math.max(...timed.parts.map((row) => row.seconds));
    const title = (row) => `${row.title}${row.others ? ` and ${row.others} other${row.others > 1 ? "s" : ""}` : ""}`;
    parts.push(
      makeTable([
        ["part", (row) => (row.item === undefined ? title(row) : link(title(row), () => onLast(row.item)))],
        ["time", (row) => duration(row.seconds), true],
        ["of all", (row) => `${((100 * row.seconds) / total).toFixed(1)} %`, true],
        ["", (row) => gauge(row.seconds, most)],
        ["flops", (row) => count(row.flops), true],
        ["each second", (row) => count(Math.round(row.flops / row.seconds)), true],
        ["source", (row) => place({ c: row.place + 1 })?.name],
      ], timed.parts),
      note(`${duration(total)} in all: each part compiled by itself and run on what the first call was given. `
        + "Together they can take less, where XLA fuses over their edges, or more, where they drive each "
        + "other's data out of the caches."),
    );
  }
  return parts;
}

function compileTable(fn, onStage) {
  const rows = fn.stages.slice(1).map((stage, i) => ({
    name: stage.name, stage: i + 1, seconds: stage.seconds, nodes: stage.nodes,
    before: fn.stages[i].nodes, same: stage.same,
  }));
  if (fn.xla) {
    rows.push({ name: "to StableHLO", seconds: fn.xla.lower }, { name: "XLA", seconds: fn.xla.compile });
  }
  const most = Math.max(...rows.map((row) => row.seconds));
  const total = rows.reduce((sum, row) => sum + row.seconds, 0);
  return [
    heading("Time to compile"),
    makeTable([
      ["step", (row) => (row.stage === undefined ? row.name : link(row.name, () => onStage(row.stage)))],
      ["time", (row) => duration(row.seconds), true],
      ["", (row) => gauge(row.seconds, most)],
      ["nodes", (row) => (row.nodes === undefined ? "" : `${count(row.before)} → ${count(row.nodes)}`), true],
      ["", (row) => (row.same ? "no change" : "")],
    ], rows),
    note(`${duration(total)} in all, measured once while this page was written.`),
  ];
}
