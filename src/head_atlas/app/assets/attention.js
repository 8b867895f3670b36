// Attention of one head: clean, ablated and their difference on canvases that share one cross-hair.
const root = element.querySelector('.ha-attention-panel');
let views = [];
let spot = null;
let info = null;
let strip = null;
const cell = (rows, q, k) => (k <= q ? rows[q * (q + 1) / 2 + k] : null);
const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
// Canvas needs real colours: a probe element resolves the same CSS that paints the cells of the grid.
const ramp = (signed) => {
  const probe = el('i', { class: 'ha-probe' });
  root.append(probe);
  const out = [];
  for (let i = 0; i <= 64; i++) {
    paint(probe, signed ? i / 32 - 1 : i / 64, signed);
    out.push(getComputedStyle(probe).backgroundColor);
  }
  probe.remove();
  return out;
};
const LABEL = 12;
const shorten = (t) => ([...t].length > 9 ? [...t].slice(0, 8).join('') + '…' : t);
const gutterOf = (canvas, c, size, n) => {
  if ((size - 70) / n < LABEL + 1) return 0;
  c.font = `${LABEL}px ${style('--font-mono')}`;
  return Math.ceil(Math.max(...props.value.tokens.map((t) => c.measureText(shorten(t)).width))) + 8;
};
const paintCanvas = (view) => {
  const n = props.value.tokens.length;
  const size = Math.max(view.canvas.clientWidth, 60), dpr = Math.min(window.devicePixelRatio || 1, 2);
  view.canvas.width = Math.round(size * dpr);
  const c = view.canvas.getContext('2d');
  view.gutter = gutterOf(view.canvas, c, size, n);
  view.canvas.height = Math.ceil(view.canvas.width - view.gutter * dpr);
  pattern(view, c, view.canvas.width, dpr);
};
// Onto a canvas, or onto whatever takes the same calls: a picture that is saved takes them as shapes.
const pattern = (view, c, width, dpr) => {
  const value = props.value, n = value.tokens.length;
  const g = view.gutter * dpr, w = (width - g) / n;
  const colours = ramp(view.signed);
  if (g) {
    // The query's token stands before its row; a long one is cut, and the line below has it whole.
    c.fillStyle = style('--ha-soft');
    c.font = `${LABEL * dpr}px ${style('--font-mono')}`;
    c.textAlign = 'right';
    c.textBaseline = 'middle';
    value.tokens.forEach((t, q) => c.fillText(shorten(t), g - 6 * dpr, (q + 0.5) * w));
  }
  c.translate(g, 0);
  for (let q = 0; q < n; q++) for (let k = 0; k <= q; k++) {
    const x = cell(view.rows, q, k);
    const t = view.signed ? (Math.max(-1, Math.min(1, x / view.high)) + 1) / 2 : Math.max(0, Math.min(1, x / view.high));
    c.fillStyle = colours[Math.round(t * 64)];
    const gap = w > 8 * dpr ? dpr : 0;
    c.fillRect(Math.floor(k * w), Math.floor(q * w), Math.ceil(w) - gap, Math.ceil(w) - gap);
  }
  if (spot) {
    c.strokeStyle = style('--ha-ink');
    c.lineWidth = dpr;
    c.globalAlpha = 0.35;
    c.strokeRect(0.5, Math.floor(spot[0] * w) + 0.5, (spot[0] + 1) * w, w);
    c.strokeRect(Math.floor(spot[1] * w) + 0.5, Math.floor(spot[1] * w) + 0.5, w, (n - spot[1]) * w);
    c.globalAlpha = 1;
    c.lineWidth = 2 * dpr;
    c.strokeRect(Math.floor(spot[1] * w) + dpr, Math.floor(spot[0] * w) + dpr, w - 2 * dpr, w - 2 * dpr);
  }
};
const number = (x, signed) => (signed && x > 0 ? '+' : x < 0 ? '−' : '') + Math.abs(x).toFixed(3);
const refresh = () => {
  const value = props.value;
  views.forEach(paintCanvas);
  const chips = [...strip.children];
  if (!spot) {
    info.textContent = value.hint;
    chips.forEach((c) => { c.classList.remove('is-query'); paint(c, 0, false); });
    return;
  }
  const [q, k] = spot;
  info.textContent = `query ${q} “${value.tokens[q]}” reads key ${k} “${value.tokens[k]}”: `
    + views.map((v) => `${v.label} ${number(cell(v.rows, q, k), v.signed)}`).join(' · ');
  // The strip shows where this query looks, in the run the pointer is on.
  const view = views.find((v) => v.current) || views[0];
  chips.forEach((c, i) => {
    const x = i <= q ? cell(view.rows, q, i) / view.high : 0;
    paint(c, x, view.signed);
    c.classList.toggle('is-query', i === q);
  });
};
const move = (q, k) => {
  const n = props.value.tokens.length;
  const row = Math.max(0, Math.min(n - 1, q));
  spot = [row, Math.max(0, Math.min(row, k))];
  refresh();
};
const draw = () => {
  const value = props.value;
  views = [];
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  info = el('p', { class: 'ha-grid-info', 'aria-live': 'polite' }, value.hint);
  strip = el('div', { class: 'ha-strip', 'aria-hidden': 'true' }, value.tokens.map((t) => el('span', {}, t)));
  if (spot && spot[0] >= value.tokens.length) spot = null;
  const figures = value.runs.map((run) => {
    const canvas = el('canvas', { tabindex: '0', role: 'application', 'aria-label': `${run.label} attention of ${value.head}: rows are queries, columns keys; arrow keys move the cross-hair` });
    const view = { canvas, rows: run.rows, label: run.label, signed: run.signed, high: run.high, gutter: 0, current: false };
    canvas.haOnto = (c) => pattern(view, c, canvas.clientWidth, 1);
    const current = () => { views.forEach((v) => { v.current = v === view; }); };
    canvas.addEventListener('pointermove', (e) => {
      const box = canvas.getBoundingClientRect(), n = props.value.tokens.length;
      const step = (box.width - view.gutter) / n;
      current();
      move(Math.floor((e.clientY - box.top) / step), Math.floor((e.clientX - box.left - view.gutter) / step));
    });
    canvas.addEventListener('pointerleave', () => { if (document.activeElement !== canvas) { spot = null; refresh(); } });
    canvas.addEventListener('focus', () => { current(); if (!spot) move(props.value.tokens.length - 1, 0); });
    canvas.addEventListener('blur', () => { spot = null; refresh(); });
    canvas.addEventListener('keydown', (e) => {
      const [q, k] = spot || [props.value.tokens.length - 1, 0];
      const go = { ArrowUp: [q - 1, k], ArrowDown: [q + 1, k], ArrowLeft: [q, k - 1], ArrowRight: [q, k + 1], Home: [q, 0], End: [q, q] }[e.key];
      if (go) { e.preventDefault(); move(...go); }
    });
    views.push(view);
    return el('figure', {}, el('figcaption', {}, run.caption, legend(run.scale)), canvas);
  });
  root.replaceChildren(
    value.lead ? el('p', { class: 'ha-lead' }, value.lead) : '',
    el('div', { class: 'ha-figures', 'data-count': value.runs.length }, figures), info, strip,
    saveMenu(`Attention of ${value.head}`, { figure: () => root, about: value.about, table: () => ({
      columns: ['query', 'query_token', 'key', 'key_token', ...value.runs.map((r) => r.label)],
      rows: value.tokens.flatMap((query, q) => value.tokens.slice(0, q + 1).map((key, k) => [q, query, k, key, ...value.runs.map((r) => cell(r.rows, q, k))])) }) }));
  refresh();
};
watch('value', draw);
draw();
// A canvas holds pixels, not variables: paint again when the theme or the width changes.
new MutationObserver(() => { if (views.length) refresh(); }).observe(document.body, { attributes: true, attributeFilter: ['class'] });
new ResizeObserver(() => { if (views.length) views.forEach(paintCanvas); }).observe(root);
