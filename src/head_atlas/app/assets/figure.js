// A figure of blocks: text, facts, matrices, tables, bars, curves and tokens, from top to bottom.
const root = element.querySelector('.ha-figure-panel');
const titled = (block, ...children) => el('section', { class: 'ha-block' }, block.title ? el('h4', {}, block.title) : null, ...children);
const matrix = (block) => {
  const n = block.rows.length, m = block.columns.length;
  const axes = block.axes[0] ? `rows: ${block.axes[0]}, columns: ${block.axes[1]}` : '';
  const info = el('p', { class: 'ha-grid-info', 'aria-live': 'polite', 'data-pictured': axes }, axes);
  const say = (r, c) => { info.textContent = `${block.rows[r]} · ${block.columns[c]}: ${block.text[r][c]}`; };
  // What is read in a cell is its name; the whole number describes it.
  const seen = (r, c) => (block.short ? block.short[r][c] : '');
  const board = el('div', { role: 'grid', class: 'ha-matrix' + (block.short ? '' : ' is-plain'), 'aria-label': block.title, 'aria-rowcount': n + 1, 'aria-colcount': m + 1, vars: { '--columns': m } });
  board.append(el('div', { role: 'row', class: 'ha-row' },
    el('span', { role: 'columnheader', class: 'ha-corner' }, el('span', { class: 'ha-sr' }, block.axes.join(' by '))),
    block.columns.map((label) => el('span', { role: 'columnheader', class: 'ha-column' }, el('span', {}, label)))));
  const cells = block.rows.map((label, r) => {
    const row = block.columns.map((_, c) => {
      const cell = el('div', { role: 'gridcell', tabindex: r + c === 0 ? '0' : '-1', class: 'ha-mcell', 'data-r': r, 'data-c': c, 'aria-label': `${label}, ${block.columns[c]}: ${seen(r, c) || block.text[r][c]}`, 'aria-description': seen(r, c) ? block.text[r][c] : null }, seen(r, c));
      paint(cell, block.t[r][c], block.scale.signed);
      return cell;
    });
    board.append(el('div', { role: 'row', class: 'ha-row' }, el('span', { role: 'rowheader', class: 'ha-mrow' }, label), row));
    return row;
  });
  const at = (e) => { const cell = e.target.closest('.ha-mcell'); return cell ? [+cell.dataset.r, +cell.dataset.c] : null; };
  board.addEventListener('pointerover', (e) => { const p = at(e); if (p) say(...p); });
  board.addEventListener('focusin', (e) => { const p = at(e); if (p) say(...p); });
  board.addEventListener('keydown', (e) => {
    const p = at(e);
    if (!p) return;
    const [r, c] = p;
    const go = { ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], Home: [r, 0], End: [r, m - 1], PageUp: [0, c], PageDown: [n - 1, c] }[e.key];
    if (!go) return;
    e.preventDefault();
    const to = cells[Math.max(0, Math.min(n - 1, go[0]))][Math.max(0, Math.min(m - 1, go[1]))];
    cells[r][c].setAttribute('tabindex', '-1');
    to.setAttribute('tabindex', '0');
    to.focus();
  });
  return titled(block, el('div', { class: 'ha-scroll' }, board), el('div', { class: 'ha-grid-foot' }, legend(block.scale), info));
};
const DASH = ['', '7 5', '2 4'];
const curves = (block) => {
  const W = 640, H = 240, L = 58, R = 12, T = 12, B = 34, n = block.x.length;
  const x = (i) => L + (n < 2 ? 0 : i * (W - L - R) / (n - 1));
  const y = (v) => T + (block.high - v) * (H - T - B) / (block.high - block.low);
  const points = (values) => values.map((v, i) => (v === null ? null : `${x(i).toFixed(1)},${y(v).toFixed(1)}`)).filter(Boolean);
  const number = (v) => (v === null ? '–' : (v < 0 ? '−' : '') + Math.abs(v).toFixed(Math.min(5, block.digits)));
  const shapes = block.lines.flatMap((line, k) => [
    line.band ? svg('polygon', { class: `ha-band band-${k}`, points: [...points(line.band[0]), ...points(line.band[1]).reverse()].join(' ') }) : null,
    svg('polyline', { class: `ha-curve curve-${k}`, points: points(line.values).join(' '), 'stroke-dasharray': DASH[k] || '' }),
  ]).filter(Boolean);
  const label = (text, px, py, anchor) => svg('text', { x: px, y: py, 'text-anchor': anchor, class: 'ha-tick' }, text);
  const info = el('p', { class: 'ha-grid-info', 'aria-live': 'polite', 'data-pictured': block.x_label }, block.x_label);
  const mark = svg('line', { class: 'ha-mark', y1: T, y2: H - B, x1: L, x2: L, visibility: 'hidden' });
  let spot = 0;
  const say = (i) => {
    spot = Math.max(0, Math.min(n - 1, i));
    mark.setAttribute('x1', x(spot)); mark.setAttribute('x2', x(spot)); mark.setAttribute('visibility', 'visible');
    info.textContent = `${block.x[spot]}: ${block.lines.map((line) => `${line.label} ${number(line.values[spot])}${line.band ? ` [${number(line.band[0][spot])}, ${number(line.band[1][spot])}]` : ''}`).join(' · ')}`;
  };
  const chart = svg('svg', { viewBox: `0 0 ${W} ${H}`, class: 'ha-chart', role: 'application', tabindex: '0', 'aria-label': `${block.title}: ${block.y_label} by ${block.x_label}; arrow keys read the points` },
    svg('path', { class: 'ha-axisline', d: `M${L} ${T}V${H - B}H${W - R}` }),
    label(block.high_text, L - 6, T + 10, 'end'), label(block.low_text, L - 6, H - B, 'end'),
    label(block.x[0] ?? '', L, H - B + 20, 'start'), label(n > 1 ? block.x[n - 1] : '', W - R, H - B + 20, 'end'), ...shapes, mark);
  chart.addEventListener('pointermove', (e) => { const box = chart.getBoundingClientRect(); say(Math.round(((e.clientX - box.left) * W / box.width - L) / ((W - L - R) / Math.max(1, n - 1)))); });
  chart.addEventListener('focus', () => say(spot));
  chart.addEventListener('keydown', (e) => { const i = { ArrowLeft: spot - 1, ArrowRight: spot + 1, Home: 0, End: n - 1 }[e.key]; if (i !== undefined) { e.preventDefault(); say(i); } });
  const keyLine = (k) => svg('svg', { viewBox: '0 0 30 8', class: 'ha-key', 'aria-hidden': 'true' }, svg('path', { class: `ha-curve curve-${k}`, d: 'M0 4H30', 'stroke-dasharray': DASH[k] || '' }));
  return titled(block, el('p', { class: 'ha-lead' }, block.y_label), chart,
    el('div', { class: 'ha-keys' }, block.lines.map((line, k) => el('span', {}, keyLine(k), line.label))), info);
};
const bars = (block) => titled(block, el('div', { role: 'table', 'aria-label': block.title }, explained(block.rows.map((row) => [
  el('div', { role: 'row', class: 'ha-sbar' }, el('span', { role: 'rowheader' }, row.label),
    el('span', { class: 'ha-line', vars: { '--zero': 0.5 }, role: 'cell', 'aria-hidden': 'true' },
      row.t === null ? null : el('i', { class: 'ha-swing ' + (row.t < 0 ? 'is-minus' : 'is-plus'), vars: { '--a': Math.min(0.5, 0.5 + row.t / 2), '--b': Math.max(0.5, 0.5 + row.t / 2) } })),
    el('span', { role: 'cell', class: 'ha-num' }, row.text)), row.title]))), el('p', { class: 'ha-lead' }, block.unit));
const table = (block) => titled(block, block.note ? el('p', { class: 'ha-lead' }, block.note) : null, el('div', { class: 'ha-scroll', tabindex: '0', role: 'region', 'aria-label': block.title }, el('table', { class: 'ha-table' },
  el('thead', {}, el('tr', {}, block.columns.map((label) => el('th', { scope: 'col' }, label)))),
  el('tbody', {}, block.rows.map((row) => el('tr', { class: row.marked ? 'is-current' : null }, row.cells.map((cell, i) => (i ? el('td', {}, cell) : el('th', { scope: 'row' }, cell)))))))));
const graph = (block) => {
  const W = 640, step = 96, H = 40 + step * block.rows.length, place = {};
  block.rows.forEach((row, level) => row.forEach((label, i) => { place[label] = [W * (i + 0.5) / row.length, H - 40 - step * level]; }));
  const info = el('p', { class: 'ha-grid-info', 'data-pictured': block.widest }, block.widest);
  const edges = [...block.edges].sort((a, b) => Math.abs(a.t) - Math.abs(b.t)).map((edge) => {
    const [a, b] = [place[edge.source], place[edge.target]], size = Math.abs(edge.t);
    // An edge past a level bends, so that it does not run through what lies between.
    const bend = Math.round((a[1] - b[1]) / step) > 1 ? 90 : 0;
    const line = svg('path', { d: `M${a[0]} ${a[1] - 14}Q${(a[0] + b[0]) / 2 + bend} ${(a[1] + b[1]) / 2} ${b[0]} ${b[1] + 14}`, class: edge.t < 0 ? 'ha-edge is-minus' : 'ha-edge', 'stroke-width': (0.5 + 6 * size).toFixed(2), 'stroke-opacity': (0.15 + 0.85 * size).toFixed(2) });
    line.addEventListener('pointerenter', () => { info.textContent = `${edge.source} → ${edge.target}: ${edge.text}`; });
    return line;
  });
  const nodes = Object.entries(place).flatMap(([label, [px, py]]) => [
    svg('rect', { x: px - 36, y: py - 14, width: 72, height: 28, rx: 14, class: 'ha-node' }), svg('text', { x: px, y: py + 5, 'text-anchor': 'middle', class: 'ha-nodetext' }, label)]);
  return titled(block, svg('svg', { viewBox: `0 0 ${W} ${H}`, class: 'ha-chart', role: 'img', 'aria-label': `${block.title}; the table below has the edges` }, ...edges, ...nodes), info);
};
const DRAWN = {
  text: (block) => el('p', { class: { headline: 'ha-headline', warning: 'ha-verdict', title: 'ha-block-title' }[block.tone] || 'ha-lead' }, rich(block.text)),
  facts: (block) => numberList(block.facts),
  pair: (block) => el('div', { class: 'ha-side' }, block.blocks.map(part)),
  chips: (block) => el('section', { class: 'ha-block' }, ...chipList(block, props.value.about)),
  matrix, curves, bars, table, graph,
};
// The numbers behind a block; of a table that brings none, the texts that stand in it.
const TABLES = {
  matrix: (b) => ({ columns: ['row', 'column', 'value'], rows: b.rows.flatMap((row, r) => b.columns.map((column, c) => [row, column, b.values[r][c]])), about: { unit: b.scale.unit, rows_are: b.axes[0], columns_are: b.axes[1] } }),
  curves: (b) => ({ columns: ['x', ...b.lines.flatMap((l) => [l.label, ...(l.band ? [`${l.label}, low`, `${l.label}, high`] : [])])], rows: b.x.map((x, i) => [x, ...b.lines.flatMap((l) => [l.values[i], ...(l.band || []).map((end) => end[i])])]), about: { x_is: b.x_label, values_are: b.y_label } }),
  bars: (b) => ({ columns: ['label', 'value'], rows: b.rows.map((r) => [r.label, r.value]), about: { unit: b.unit } }),
  table: (b) => b.saved || { columns: b.columns, rows: b.rows.map((r) => r.cells) },
  graph: (b) => ({ columns: ['from', 'to', 'value'], rows: b.edges.map((e) => [e.source, e.target, e.value]), about: { unit: b.unit } }),
};
function part(block) {
  const node = DRAWN[block.kind](block);
  if (Object.hasOwn(TABLES, block.kind)) node.prepend(saveMenu(block.title || block.kind, { figure: block.kind === 'table' ? null : () => node, table: () => TABLES[block.kind](block), about: props.value.about }));
  return node;
}
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(...value.blocks.filter((block) => Object.hasOwn(DRAWN, block.kind)).map(part));
};
watch('value', draw);
draw();
