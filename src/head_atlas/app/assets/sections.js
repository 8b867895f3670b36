// Sections of a card or of a head's page, drawn by kind. Stands between common.js and a component's own script.
const meant = (row) => (row.t === null ? row.reason : '') || row.sentence;
const bars = (section) => el('div', { class: 'ha-bars', role: 'table', 'aria-label': section.title, 'data-columns': section.columns.length },
  el('div', { role: 'row', class: 'ha-bar-row ha-bar-head' }, section.columns.map((c) => el('span', { role: 'columnheader' }, c))),
  explained(section.rows.map((row) => [el('div', { role: 'row', 'data-key': row.key, class: 'ha-bar-row' + (row.key && row.key === shownMeasure.get() ? ' is-current' : '') + (row.faint ? ' is-faint' : '') },
    el('span', { role: 'rowheader' }, row.label),
    el('span', { role: 'cell', class: 'ha-track' }, row.t === null
      ? el('i', { class: 'ha-fill paint-none' })
      : [el('i', { class: 'ha-fill', vars: { '--w': Math.max(0, Math.min(1, row.t)) } }),
        row.low !== null ? el('i', { class: 'ha-whisker', vars: { '--a': row.low, '--b': row.high } }) : null],
      row.chance !== undefined && row.chance !== null ? el('i', { class: 'ha-chance', vars: { '--a': row.chance } }) : null),
    row.cells.map((c) => el('span', { role: 'cell', class: 'ha-num' }, c))), meant(row)])));
const forest = (section) => el('div', { class: 'ha-forest', role: 'table', 'aria-label': section.title },
  el('div', { role: 'row', class: 'ha-bar-row ha-bar-head' }, section.columns.map((c) => el('span', { role: 'columnheader' }, c))),
  explained(section.rows.map((row) => [el('div', { role: 'row', 'data-key': row.key, class: 'ha-bar-row' + (row.key && row.key === shownMeasure.get() ? ' is-current' : '') },
    el('span', { role: 'rowheader' }, row.label),
    el('span', { role: 'cell', class: 'ha-line', vars: { '--zero': section.zero } },
      (row.peers || []).map((p) => el('i', { class: 'ha-peer', vars: { '--a': p } })),
      row.t === null
      ? el('i', { class: 'ha-fill paint-none' })
      : [el('i', { class: 'ha-range ' + (row.sign < 0 ? 'is-minus' : row.sign > 0 ? 'is-plus' : ''), vars: { '--a': row.low, '--b': row.high } }),
        el('i', { class: 'ha-dot ' + (row.sign < 0 ? 'is-minus' : row.sign > 0 ? 'is-plus' : ''), vars: { '--a': row.t } })]),
    row.cells.map((c) => el('span', { role: 'cell', class: 'ha-num' }, c))), meant(row)])));
const profile = (section) => {
  const info = el('p', { class: 'ha-grid-info', 'data-pictured': section.scale }, section.hint);
  const list = el('div', { class: 'ha-profile' + (section.apart === false ? '' : ' is-apart'), role: 'list', 'aria-label': section.title });
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
const facts = (section) => el('dl', { class: 'ha-facts' }, section.rows.map((r) => [el('dt', {}, r.label), el('dd', {}, r.text)]));
const empty = (section) => emptyNote(section.text);
const fold = (section, about) => el('details', { class: 'ha-notes' }, el('summary', {}, section.summary), drawSection({ ...section.section, title: '', name: section.summary }, about));
const entries = (section) => el('dl', { class: 'ha-entries' }, section.entries.map((n) => [el('dt', {}, n.term), el('dd', {}, rich(n.text), n.source ? el('cite', {}, n.source) : null)]));
// One of several sections at a time: a row of buttons, of which one is pressed.
const switched = (section, about) => {
  const place = el('div', {});
  const buttons = section.options.map((option, i) => el('button', { type: 'button', class: 'ha-pick', on: { click: () => show(i) } }, option.label));
  const show = (i) => {
    buttons.forEach((b, j) => b.setAttribute('aria-pressed', String(i === j)));
    place.replaceChildren(drawSection(section.options[i].section, about));
  };
  show(section.chosen);
  return el('div', {}, buttons.length > 1 ? el('div', { class: 'ha-switch', role: 'group', 'aria-label': section.label }, el('span', { 'aria-hidden': 'true' }, section.label), buttons) : null, place);
};
const ANSWER = { true: 'is-yes', false: 'is-no', null: 'is-unknown' };
const grades = (role) => [
  el('p', { class: 'ha-role-says' }, role.sentence, role.strength ? ` (${role.strength})` : ''),
  el('ul', { class: 'ha-grades' }, role.grades.map((g) => el('li', { class: ANSWER[String(g.answer)] },
    el('b', {}, g.grade), el('span', { class: 'ha-answer' }, g.word), el('span', { class: 'ha-evidence' }, g.numbers.join(' · '))))),
  el('details', { class: 'ha-notes' }, el('summary', {}, 'Read with care'), el('p', { class: 'ha-lead' }, rich(role.pitfall), ' ', role.source))];
// What a head holds is open; what it is not called, though it attends or writes like it, unfolds.
const roles = (section) => el('div', { class: 'ha-roles' },
  section.none ? emptyNote(section.none) : null,
  section.roles.map((role) => (role.held
    ? el('article', { class: 'ha-role is-held' }, el('h4', {}, role.label, el('span', { class: 'ha-tag' }, role.word)), grades(role))
    : el('details', { class: 'ha-role' }, el('summary', {}, el('b', {}, role.label), el('span', { class: 'ha-tag' }, role.word),
      el('span', { class: 'ha-answers' }, role.grades.map((g) => el('span', { class: ANSWER[String(g.answer)] }, el('span', { class: 'ha-answer' }, g.grade), el('span', { class: 'ha-sr' }, `: ${g.word}`))))), grades(role)))),
  section.states.length ? el('dl', { class: 'ha-facts' }, section.states.map((s) => [el('dt', {}, s.label), el('dd', {}, s.text)])) : null);
const tokens = (section) => el('div', { class: 'ha-token-columns' }, section.columns.map((column) => el('div', {},
  el('h4', {}, column.title),
  column.rows.length ? el('ol', { class: 'ha-token-rows' }, explained(column.rows.map((row) => [el('li', {},
    el('span', { class: 'ha-token' }, row.token),
    el('span', { class: 'ha-track', 'aria-hidden': 'true' }, el('i', { class: 'ha-fill ' + (column.sign > 0 ? 'is-plus' : column.sign < 0 ? 'is-minus' : ''), vars: { '--w': row.t || 0 } })),
    el('span', { class: 'ha-num' }, row.text)), row.title]))) : emptyNote('none'))));
const partners = (section) => el('div', { class: 'ha-token-columns is-many' }, section.columns.map((column) => el('div', {},
  el('h4', {}, column.title),
  column.rows.length ? el('ol', { class: 'ha-token-rows' }, column.rows.map((row) => el('li', {},
    el('button', { type: 'button', class: 'ha-link', on: { click: () => trigger('go', { index: row.head }) } }, row.label),
    el('span', { class: 'ha-track', 'aria-hidden': 'true' }, el('i', { class: 'ha-fill', vars: { '--w': row.t } })),
    el('span', { class: 'ha-num' }, row.text)))) : emptyNote(column.empty))));
const neurons = (section) => el('div', { class: 'ha-neurons' }, section.neurons.length ? section.neurons.map((n) => el('article', { class: 'ha-role' },
  el('h4', {}, n.title, el('span', { class: 'ha-tag' }, n.text)),
  el('p', { class: 'ha-role-says' }, 'fires on ', n.families.map((f) => `${f.label} ${f.text}`).join(', ')),
  n.examples.map((x) => el('p', { class: 'ha-prompt' }, x.tokens.map((t, i) => el('span', { class: i === x.tokens.length - 1 ? 'is-here' : '' }, t)), el('small', {}, ` ${x.family}, activation ${x.text}`))))) : emptyNote('none'));
// A text to be copied as it stands.
const code = (section) => {
  const copy = el('button', { type: 'button', class: 'ha-pick', 'aria-label': `Copy: ${section.title}` }, 'Copy');
  const text = el('pre', { class: 'ha-code', tabindex: '0', role: 'region', 'aria-label': section.title }, section.text);
  copy.addEventListener('click', async () => {
    try { await navigator.clipboard.writeText(section.text); copy.textContent = 'Copied'; }
    catch { getSelection().selectAllChildren(text); copy.textContent = 'Selected: copy it with your keyboard'; }
  });
  return el('div', {}, text, copy);
};
const KINDS = { bars, forest, profile, notes, facts, empty, fold, entries, switch: switched, roles, tokens, partners, neurons, code };
// What can be taken along: a figure as a picture; its table as the server sent it, or, of texts, as they stand here.
const FIGURES = ['bars', 'forest', 'profile', 'tokens', 'partners', 'roles', 'neurons'];
const TEXTS = {
  facts: (s) => ({ columns: ['label', 'text'], rows: s.rows.map((r) => [r.label, r.text]) }),
  entries: (s) => ({ columns: ['claim', 'text', 'source'], rows: s.entries.map((n) => [n.term, n.text, n.source || '']) }),
  roles: (s) => ({ columns: ['role', 'held', 'membership', 'grade', 'answer', 'evidence'], rows: s.roles.flatMap((r) => r.grades.map((g) => [r.label, r.held, r.t, g.grade, g.word, g.numbers.join('; ')])) }),
  neurons: (s) => ({ columns: ['neuron', 'effective_families', 'family', 'fires'], rows: s.neurons.flatMap((n) => n.families.map((f) => [n.title, n.text, f.label, f.text])) }),
};
const saveSection = (s, section, about) => {
  const table = s.saved ? () => s.saved : Object.hasOwn(TEXTS, s.kind) ? () => TEXTS[s.kind](s) : null;
  const figure = FIGURES.includes(s.kind) ? () => section : null;
  return about && (table || figure) ? saveMenu(s.title || s.name || s.kind, { figure, table, about: { ...about, ...(s.saved ? s.saved.about : {}) } }) : null;
};
const drawSection = (s, about = null) => {
  const section = el('section', { class: `kind-${s.kind}` },
    s.title ? el('h3', {}, s.title) : null, s.lead ? el('p', { class: 'ha-lead' }, rich(s.lead)) : null, KINDS[s.kind](s, about), s.note ? el('p', { class: 'ha-lead' }, rich(s.note)) : null);
  const menu = saveSection(s, section, about);
  if (menu) section.prepend(menu);
  return section;
};
const drawSections = (list, about = null) => list.filter((s) => Object.hasOwn(KINDS, s.kind)).map((s) => drawSection(s, about));
