// What the selected head is, or two of them: the sentence that sums each up, and roles with their evidence.
const root = element.querySelector('.ha-headline-panel');
// The frame that shows this head's card on another page, as text to copy. A title stands in an attribute, so it is escaped.
const embedding = (model, mode, head) => {
  const source = new URL(window.location.pathname, window.location.origin);
  // As the page's own address is written: dots and slashes stay readable.
  source.search = `?embed=1&model=${encodeURIComponent(model)}&head=${head.head.join('.')}${mode ? `&mode=${encodeURIComponent(mode)}` : ''}`;
  const safe = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const code = `<iframe src="${safe(source.href)}" title="${safe(`Attention head ${head.title}`)}" width="480" height="620" loading="lazy" style="border:0;max-width:100%"></iframe>`;
  const status = el('span', { role: 'status', class: 'ha-copied' });
  const field = el('textarea', { readonly: true, rows: '4', class: 'ha-code-field', 'aria-label': `HTML that embeds the card of ${head.title}` });
  field.value = code;
  return el('details', { class: 'ha-notes ha-embedding' }, el('summary', {}, 'Embed this card'),
    el('p', { class: 'ha-lead' }, 'Put this into any web page: it shows this head, read from this server. ', el('a', { href: source.href, target: '_blank', rel: 'noopener' }, 'See it')),
    field, el('button', { type: 'button', class: 'ha-pick', on: { click: () => copyText(code, field, (text) => { status.textContent = text; }) } }, 'Copy the HTML'), status);
};
const draw = () => {
  const value = props.value;
  // An answer to a click must not undo a later click, so only what came from elsewhere moves the selection.
  if (value && value.moves) selectedHead.set(value.heads ? value.heads[0].head : null);
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  root.replaceChildren(...value.heads.map((head) => el('article', {},
    el('header', { class: 'ha-card-head' }, el('h2', {}, head.title), el('p', {}, head.subtitle)),
    head.marks.length ? el('ul', { class: 'ha-marks', 'aria-label': 'roles and states' }, head.marks.map((m) => el('li', {}, m))) : null,
    el('p', { class: 'ha-sentence' }, head.sentence), drawSections(head.sections, value.about && { ...value.about, head: head.head.join('.') }),
    value.model ? embedding(value.model, value.mode, head) : null)));
};
watch('value', draw);
draw();
