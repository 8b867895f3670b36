// Heads as points: one measure to the right, one upwards, a third as colour.
const root = element.querySelector('.ha-scatter-panel');
let points = [];
let info = null;
const rest = () => {
  const value = props.value, chosen = selectedHead.get();
  const found = value.points.find((p) => isHead(p.at, chosen));
  info.textContent = found ? found.text : [value.hint, value.rule, value.missing].filter(Boolean).join(' ');
};
const mark = () => {
  const chosen = selectedHead.get();
  points.forEach((node, i) => {
    const is = isHead(props.value.points[i].at, chosen);
    node.classList.toggle('is-selected', is);
    node.setAttribute('aria-selected', String(is));
  });
  if (info) rest();
};
const choose = (i) => {
  const at = props.value.points[i].at;
  props.value = { ...props.value, selected: at };
  selectedHead.set(at);
  trigger('select', { index: at, value: null });
};
const draw = () => {
  const value = props.value;
  points = []; info = null;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  info = el('p', { class: 'ha-grid-info', 'aria-live': 'polite', 'data-pictured': [value.rule, value.missing].filter(Boolean).join(' ') });
  // From left to right, so that the arrow keys follow what is seen.
  const order = value.points.map((_, i) => i).sort((a, b) => value.points[a].x - value.points[b].x);
  points = value.points.map((p, i) => {
    const node = el('div', { role: 'option', class: 'ha-point' + (p.faint ? ' is-hollow' : ''), tabindex: i === order[0] ? '0' : '-1', 'aria-label': p.text, 'data-i': i, vars: { '--x': p.x, '--y': p.y } });
    paint(node, p.t, value.by.scale.signed);
    return node;
  });
  const board = el('div', { class: 'ha-plot', role: 'listbox', 'aria-label': value.title },
    el('i', { class: 'ha-zero-x', 'aria-hidden': 'true', vars: { '--x': value.x.zero } }), el('i', { class: 'ha-zero-y', 'aria-hidden': 'true', vars: { '--y': value.y.zero } }), points);
  const at = (e) => { const node = e.target.closest('.ha-point'); return node ? +node.dataset.i : null; };
  board.addEventListener('pointerover', (e) => { const i = at(e); if (i !== null) info.textContent = value.points[i].text; });
  board.addEventListener('pointerleave', rest);
  board.addEventListener('focusin', (e) => { const i = at(e); if (i !== null) { points.forEach((n) => n.setAttribute('tabindex', '-1')); points[i].setAttribute('tabindex', '0'); info.textContent = value.points[i].text; } });
  board.addEventListener('focusout', rest);
  board.addEventListener('click', (e) => { const i = at(e); if (i !== null) { points[i].focus(); choose(i); } });
  board.addEventListener('keydown', (e) => {
    const i = at(e);
    if (i === null) return;
    if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); choose(i); return; }
    const j = order.indexOf(i);
    const k = { ArrowLeft: j - 1, ArrowRight: j + 1, ArrowDown: j - 1, ArrowUp: j + 1, Home: 0, End: order.length - 1 }[e.key];
    if (k !== undefined) { e.preventDefault(); points[order[Math.max(0, Math.min(order.length - 1, k))]].focus(); }
  });
  const ticks = (axis, name) => el('div', { class: `ha-ticks-${name}`, 'aria-hidden': 'true' }, axis.ticks.map((t) => el('span', { vars: { '--at': t.at } }, t.text)));
  root.replaceChildren(
    el('p', { class: 'ha-axis-name' }, '↑ ', value.y.label, value.y.unit ? ` (${value.y.unit})` : ''),
    el('div', { class: 'ha-plot-frame' }, ticks(value.y, 'y'), board, ticks(value.x, 'x')),
    el('p', { class: 'ha-axis-name is-x' }, value.x.label, value.x.unit ? ` (${value.x.unit})` : '', ' →'),
    el('div', { class: 'ha-grid-foot' }, el('span', { class: 'ha-rule' }, `Colour: ${value.by.label}`), legend(value.by.scale)), info,
    value.saved ? saveMenu(value.title, { figure: () => root, about: value.saved.about, table: () => value.saved }) : '');
  mark();
};
selectedHead.follow(root, () => { if (points.length) mark(); });
watch('value', draw);
draw();
