// The data of the report, with what is looked up often.

const NAMED_FROM = 8; // how many lines may leave a box

const report = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// Make an element. Text always becomes a text node, so nothing of the user's is ever markup.
function element(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset ?? {});
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function count(number) {
  return number.toLocaleString("en");
}

function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  return seconds >= 1e-4 ? `${(seconds * 1e3).toFixed(1)} ms` : `${(seconds * 1e6).toFixed(1)} µs`;
}

function place(item) {
  if (!item.c) return null;
  const [file, line, inside] = report.places[item.c - 1];
  const name = report.files[file].path.split(/[\\/]/).pop();
  return { file, line, name: `${name}:${line}${inside ? ` in ${inside}` : ""}` };
}

// A stage looks like the one before it if its pass changed nothing.
function prepare(fn) {
  let shown = null;
  fn.stages.forEach((stage) => {
    if (!stage.same) shown = new Drawing(stage.graph, stage.text, fn.states);
    stage.drawing = shown;
  });
}

class Drawing {
  constructor(graph, text, states) {
    this.items = graph.items;
    this.regions = graph.regions;
    this.edges = graph.edges;
    this.text = text;
    this.states = states;
    this.within = this.regions.map(() => []); // items of each region
    this.owned = new Map(); // regions of each item
    this.into = this.items.map(() => []); // edges by their ends
    this.from = this.items.map(() => []);
    this.opened = null; // regions that are drawn open: set when it is first drawn
    this.lineItems = new Map();
    this.items.forEach((item, id) => {
      this.within[item.r].push(id);
      if (item.n) this.lineItems.set(item.n - 1, id);
    });
    // Lines from what very many use would hide everything else: its users name it instead.
    this.isNamed = (edge) => this.from[this.edges[edge][0]].length > NAMED_FROM;
    this.regions.forEach((region, id) => {
      if (region.o < 0) return;
      if (!this.owned.has(region.o)) this.owned.set(region.o, []);
      this.owned.get(region.o).push(id);
    });
    this.edges.forEach(([start, end], id) => {
      this.from[start].push(id);
      this.into[end].push(id);
    });
  }

  // The text that a search looks through.
  words(id) {
    const item = this.items[id];
    const where = place(item);
    const state = item.s ? `@${this.states[item.s - 1].name}` : "";
    return [item.w ?? item.l, item.v, item.t, state, where?.name].filter(Boolean).join(" ").toLowerCase();
  }

  // What is written in a box.
  caption(id) {
    if (this.items[id].w) return this.items[id].w;
    const named = this.into[id].filter(this.isNamed).map((edge) => this.edges[edge][2]);
    const name = this.items[id].k === "op" ? [this.items[id].l, ...new Set(named)].join(" ") : this.items[id].l;
    return name.length > 34 ? `${name.slice(0, 33)}…` : name;
  }

  // The items around an item, from the inside to the outside.
  *owners(id) {
    let region = this.regions[this.items[id].r];
    while (region.o >= 0) {
      yield region.o;
      region = this.regions[region.p];
    }
  }

  isOpen(region) {
    return region === 0 || this.opened.has(region);
  }

  isShown(id) {
    for (let region = this.items[id].r; region > 0; region = this.regions[region].p) {
      if (!this.isOpen(region)) return false;
    }
    return true;
  }

  reveal(id) {
    let changed = false;
    for (const owner of this.owners(id)) {
      for (const region of this.owned.get(owner)) {
        if (!this.opened.has(region)) changed = true;
        this.opened.add(region);
      }
    }
    return changed;
  }

  // Open regions from the outside while the picture stays small.
  openSome(limit) {
    this.opened = new Set();
    let total = this.within[0].length;
    for (let region = 1; region < this.regions.length; region += 1) {
      const size = this.within[region].length;
      if (!this.isOpen(this.regions[region].p) || total + size > limit) continue;
      this.opened.add(region);
      total += size;
    }
    // What is owned together opens together.
    for (const regions of this.owned.values()) {
      if (!regions.every((region) => this.opened.has(region))) {
        regions.forEach((region) => this.opened.delete(region));
      }
    }
  }

  // Items at most some edges away, and all that is around them.
  near(centre, steps) {
    const found = new Set([centre]);
    let edge = [centre];
    for (let step = 0; step < steps; step += 1) {
      const next = [];
      for (const id of edge) {
        for (const link of this.into[id]) next.push(this.edges[link][0]);
        for (const link of this.from[id]) next.push(this.edges[link][1]);
      }
      edge = next.filter((id) => !found.has(id));
      edge.forEach((id) => found.add(id));
    }
    for (const id of [...found]) for (const owner of this.owners(id)) found.add(owner);
    return found;
  }
}

report.functions.forEach(prepare);
