// Prompts that show a head: point at a token, and its row of the pattern colours the others.
const root = element.querySelector('.ha-examples-panel');
const example = (head, item) => {
  const info = el('p', { class: 'ha-grid-info', 'aria-live': 'polite', 'data-pictured': item.said }, item.said);
  const list = el('div', { class: 'ha-strip ha-example-tokens', role: 'listbox', 'aria-label': `${head} on ${item.family}` });
  const chips = item.tokens.map((text, i) => el('span', { role: 'option', 'aria-selected': 'false', tabindex: i ? '-1' : '0' }, text));
  const rest = () => {
    chips.forEach((c, i) => { paint(c, item.rest[i], false); c.classList.remove('is-query'); c.setAttribute('aria-selected', 'false'); });
    info.textContent = item.said;
  };
  const look = (i) => {
    const weight = new Map(item.rows[i]);
    chips.forEach((c, k) => { paint(c, weight.get(k) || 0, false); c.classList.toggle('is-query', k === i); c.setAttribute('aria-selected', String(k === i)); });
    const said = item.rows[i].map(([k, w]) => `“${item.tokens[k]}” ${w.toFixed(2)}`).join(' · ');
    const left = item.dropped[i] >= 0.005 ? ` · elsewhere ${item.dropped[i].toFixed(2)}` : '';
    info.textContent = `“${item.tokens[i]}” looks at ${said || 'nothing that is kept'}${left}`;
  };
  chips.forEach((c, i) => {
    c.addEventListener('pointerenter', () => look(i));
    c.addEventListener('focus', () => { chips.forEach((o) => o.setAttribute('tabindex', '-1')); c.setAttribute('tabindex', '0'); look(i); });
  });
  list.addEventListener('pointerleave', () => { if (!list.contains(document.activeElement)) rest(); });
  list.addEventListener('focusout', rest);
  list.addEventListener('keydown', (e) => {
    const i = chips.indexOf(document.activeElement);
    const j = { ArrowLeft: i - 1, ArrowRight: i + 1, ArrowUp: i - 8, ArrowDown: i + 8, Home: 0, End: chips.length - 1 }[e.key];
    if (j !== undefined) { e.preventDefault(); chips[Math.max(0, Math.min(chips.length - 1, j))].focus(); }
  });
  list.append(...chips);
  rest();
  return el('article', { class: 'ha-example' },
    el('header', {}, el('span', { class: 'ha-kind' }, item.family),
      el('button', { type: 'button', class: 'ha-live', 'aria-label': `Test it live: ${item.family}, without ${head}`, on: { click: () => trigger('live', { prompt: item.prompt, head }) } }, 'Test it live')),
    list, info);
};
const draw = () => {
  const value = held(props.value);
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(...value.heads.map((one) => ('empty' in one ? emptyNote(one.empty) : el('section', {},
    saveMenu(one.title, { figure: (opener) => opener.closest('section'), about: { ...value.about, ...one.about, head: one.head }, table: () => ({
      columns: ['example', 'family', 'query', 'query_token', 'key', 'key_token', 'attention'],
      rows: one.items.flatMap((item, n) => item.rows.flatMap((row, q) => row.map(([k, w]) => [n, item.family, q, item.tokens[q], k, item.tokens[k], w]))) }) }),
    el('h3', {}, one.title), el('p', { class: 'ha-lead' }, one.lead), el('div', { class: 'ha-example-grid' }, one.items.map((item) => example(one.head, item)))))));
  root.classList.toggle('is-two', value.heads.length > 1);
};
watch('value', draw);
draw();
