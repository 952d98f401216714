// Where everything stands: each open region is laid out by itself, from the inside to the outside,
// and is then one box in the region around it.

const ROW = 26;
const PADDING = 14;
const HEADER = 20;
const LAYERED_LIMIT = 900; // boxes and bends up to which layers look well and take no time

function boxWidth(text) {
  return Math.max(34, 7.2 * text.length + 18);
}

// Return {boxes: Map of item to {x, y, w, h}, parts: the same of regions that share an owner,
// routes: Map of edge to points, width, height}.
function arrange(drawing, shown) {
  const inner = new Map(); // region: its own layout
  const links = new Map(); // region: edges between boxes of it
  const isShown = (id) => shown.has(id);
  drawing.edges.forEach(([start, end], id) => {
    if (drawing.isNamed(id)) return;
    const ends = inOneRegion(drawing, start, end);
    if (!ends || ends[0] === ends[1] || !isShown(ends[0]) || !isShown(ends[1])) return;
    const region = drawing.items[ends[0]].r;
    if (!links.has(region)) links.set(region, []);
    links.get(region).push([...ends, id]);
  });
  for (let region = drawing.regions.length - 1; region >= 0; region -= 1) {
    const ids = drawing.within[region].filter(isShown);
    if (!drawing.isOpen(region) || !ids.length) continue;
    const sizes = new Map(ids.map((id) => [id, sizeOf(drawing, id, inner)]));
    inner.set(region, layRegion(drawing, ids, sizes, links.get(region) ?? []));
  }
  const all = { boxes: new Map(), parts: new Map(), routes: new Map(), width: 1, height: 1 };
  if (!inner.has(0)) return all;
  put(drawing, 0, 0, 0, inner, all);
  return { ...all, width: inner.get(0).width, height: inner.get(0).height };
}

function openRegions(drawing, id, inner) {
  return (drawing.owned.get(id) ?? []).filter((region) => inner.has(region));
}

function sizeOf(drawing, id, inner) {
  const regions = openRegions(drawing, id, inner);
  const width = boxWidth(drawing.caption(id));
  if (!regions.length) return [width, ROW];
  const several = regions.length > 1 ? 2 * PADDING : 0;
  const sum = regions.reduce((all, region) => all + inner.get(region).width + several, 0);
  const height = Math.max(...regions.map((region) => inner.get(region).height));
  return [
    Math.max(width, sum + 2 * PADDING + PADDING * (regions.length - 1)),
    height + 2 * PADDING + HEADER + (several ? several + HEADER : 0),
  ];
}

// Lift the ends of an edge to boxes of one region.
function inOneRegion(drawing, start, end) {
  const chain = new Map([[drawing.items[start].r, start]]);
  for (const owner of drawing.owners(start)) chain.set(drawing.items[owner].r, owner);
  if (chain.has(drawing.items[end].r)) return [chain.get(drawing.items[end].r), end];
  for (const owner of drawing.owners(end)) {
    const region = drawing.items[owner].r;
    if (chain.has(region)) return [chain.get(region), owner];
  }
  return null;
}

function layRegion(drawing, ids, sizes, links) {
  const graph = d3.graph();
  const nodes = new Map(ids.map((id) => [id, graph.node(id)]));
  const between = new Map(); // one link for all edges between two boxes
  for (const [start, end, edge] of links) {
    const key = `${start} ${end}`;
    if (!between.has(key)) between.set(key, []);
    between.get(key).push(edge);
  }
  for (const [key, edges] of between) {
    const [start, end] = key.split(" ").map(Number);
    graph.link(nodes.get(start), nodes.get(end), edges);
  }
  const size = (node) => sizes.get(node.data);
  const layers = layersOf(drawing, graph);
  const layout = ids.length + bends(graph, layers) <= LAYERED_LIMIT
    ? d3.sugiyama().layering((dag) => setLayers(dag, layers)).decross(d3.decrossTwoLayer())
      .coord(d3.coordGreedy()).nodeSize(size).gap([18, 30])
    : d3.grid().rank((node) => node.data).nodeSize(size).gap([10, 8]);
  const { width, height } = layout(graph);
  const places = new Map();
  const routes = new Map();
  for (const node of graph.nodes()) places.set(node.data, [node.x, node.y]);
  for (const link of graph.links()) for (const edge of link.data) routes.set(edge, link.points);
  return { width, height, places, routes, sizes };
}

// The layer of each item: inputs at the top, results at the bottom, all others as high as they can
// be, but constants just above what uses them.
function layersOf(drawing, graph) {
  const layers = new Map();
  const isEnd = (id) => drawing.items[id].k === "result";
  const isInput = (id) => drawing.items[id].k === "param" || drawing.items[id].k === "state";
  const order = [...graph.topological()];
  for (const node of order) {
    const above = [...node.parents()].map((parent) => layers.get(parent.data));
    layers.set(node.data, above.length ? Math.max(...above) + 1 : 0);
  }
  const bottom = Math.max(0, ...layers.values());
  for (const node of order.reverse()) {
    const below = [...node.children()].map((child) => layers.get(child.data));
    if (isEnd(node.data)) layers.set(node.data, bottom);
    else if (!node.nparents() && below.length && !isInput(node.data)) {
      layers.set(node.data, Math.min(...below) - 1);
    }
  }
  return layers;
}

function setLayers(dag, layers) {
  for (const node of dag.nodes()) node.y = layers.get(node.data);
  return Math.max(0, ...layers.values());
}

// How often lines cross a layer on their way.
function bends(graph, layers) {
  let total = 0;
  for (const { source, target } of graph.links()) {
    total += layers.get(target.data) - layers.get(source.data) - 1;
  }
  return total;
}

function put(drawing, region, left, top, inner, all) {
  const { places, routes, sizes } = inner.get(region);
  for (const [edge, points] of routes) {
    all.routes.set(edge, points.map(([x, y]) => [x + left, y + top]));
  }
  for (const [id, [x, y]] of places) {
    const [w, h] = sizes.get(id);
    all.boxes.set(id, { x: left + x, y: top + y, w, h });
    const regions = openRegions(drawing, id, inner);
    const margin = regions.length > 1 ? PADDING : 0;
    const used = regions.reduce((sum, one) => sum + inner.get(one).width + 2 * margin, 0);
    let start = left + x - (used + PADDING * (regions.length - 1)) / 2 + margin;
    const down = top + y - h / 2 + HEADER + PADDING + (margin ? margin + HEADER : 0);
    for (const nested of regions) {
      const { width, height } = inner.get(nested);
      if (margin) all.parts.set(nested, part(start, down, width, height));
      put(drawing, nested, start, down, inner, all);
      start += width + PADDING + 2 * margin;
    }
  }
}

function part(left, top, width, height) {
  const [w, h] = [width + 2 * PADDING, height + 2 * PADDING + HEADER];
  return { x: left + width / 2, y: top - HEADER - PADDING + h / 2, w, h };
}
