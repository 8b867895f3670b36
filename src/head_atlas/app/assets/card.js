// A head's card: titled sections of bars, of intervals around zero, or of an offset profile.
const root = element.querySelector('.ha-card-panel');
const bars = (section) => el('div', { class: 'ha-bars', role: 'table', 'aria-label': section.title },
  el('div', { role: 'row', class: 'ha-bar-row ha-bar-head' }, section.columns.map((c) => el('span', { role: 'columnheader' }, c))),
  section.rows.map((row) => el('div', { role: 'row', class: 'ha-bar-row' + (row.current ? ' is-current' : ''), title: row.sentence },
    el('span', { role: 'rowheader' }, row.label),
    el('span', { role: 'cell', class: 'ha-track' }, row.t === null
      ? el('i', { class: 'ha-fill paint-none', title: row.reason || '' })
      : [el('i', { class: 'ha-fill', vars: { '--w': Math.max(0, Math.min(1, row.t)) } }),
        row.low !== null ? el('i', { class: 'ha-whisker', vars: { '--a': row.low, '--b': row.high } }) : null]),
    row.cells.map((c) => el('span', { role: 'cell', class: 'ha-num' }, c)))));
const forest = (section) => el('div', { class: 'ha-forest', role: 'table', 'aria-label': section.title },
  el('div', { role: 'row', class: 'ha-bar-row ha-bar-head' }, section.columns.map((c) => el('span', { role: 'columnheader' }, c))),
  section.rows.map((row) => el('div', { role: 'row', class: 'ha-bar-row' + (row.current ? ' is-current' : ''), title: row.sentence },
    el('span', { role: 'rowheader' }, row.label),
    el('span', { role: 'cell', class: 'ha-line', vars: { '--zero': section.zero } }, row.t === null
      ? el('i', { class: 'ha-fill paint-none', title: row.reason || '' })
      : [el('i', { class: 'ha-range ' + (row.sign < 0 ? 'is-minus' : row.sign > 0 ? 'is-plus' : ''), vars: { '--a': row.low, '--b': row.high } }),
        el('i', { class: 'ha-dot ' + (row.sign < 0 ? 'is-minus' : row.sign > 0 ? 'is-plus' : ''), vars: { '--a': row.t } })]),
    row.cells.map((c) => el('span', { role: 'cell', class: 'ha-num' }, c)))));
const profile = (section) => {
  const info = el('p', { class: 'ha-grid-info' }, section.hint);
  const list = el('div', { class: 'ha-profile', role: 'list', 'aria-label': section.title });
  section.bins.forEach((bin) => {
    const bar = el('span', {
      role: 'listitem', tabindex: '0', class: 'ha-pbar', 'aria-label': bin.text, vars: { '--w': bin.t === null ? 0 : bin.t },
      on: { pointerenter: () => { info.textContent = bin.text; }, focus: () => { info.textContent = bin.text; },
        pointerleave: () => { info.textContent = section.hint; }, blur: () => { info.textContent = section.hint; } },
    }, el('i', { class: bin.t === null ? 'paint-none' : '' }));
    list.append(bar);
  });
  // One stop for the Tab key; arrows move along the profile.
  [...list.children].forEach((b, i) => { if (i) b.setAttribute('tabindex', '-1'); });
  list.addEventListener('keydown', (e) => {
    const items = [...list.children], i = items.indexOf(document.activeElement);
    const j = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: items.length - 1 }[e.key];
    if (j !== undefined && items[j]) { e.preventDefault(); items[j].focus(); }
  });
  return el('div', {}, list, el('div', { class: 'ha-profile-axis', 'aria-hidden': 'true' }, section.ticks.map((t) => el('span', {}, t))), info);
};
const notes = (section) => el('details', { class: 'ha-notes' }, el('summary', {}, section.summary),
  el('dl', {}, section.entries.map((n) => [el('dt', {}, n.term), el('dd', {}, rich(n.text), n.formula ? el('code', {}, n.formula) : null, n.source ? el('cite', {}, n.source) : null)])));
const facts = (section) => el('dl', { class: 'ha-facts' }, section.rows.map((r) => [el('dt', {}, r.label), el('dd', {}, rich(r.text))]));
const KINDS = { bars, forest, profile, notes, facts };
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(
    value.title ? el('header', { class: 'ha-card-head' }, el('h2', {}, value.title), value.subtitle ? el('p', {}, value.subtitle) : null) : '',
    ...value.sections.filter((s) => KINDS[s.kind]).map((s) => el('section', {},
      s.title ? el('h3', {}, s.title) : null, s.lead ? el('p', { class: 'ha-lead' }, s.lead) : null, KINDS[s.kind](s))));
};
watch('value', draw);
draw();
