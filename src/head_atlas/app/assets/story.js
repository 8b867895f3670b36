// A text with words of the glossary that explain themselves; lists of terms, of papers, and of groups.
const root = element.querySelector('.ha-story-panel');
const away = (url, text) => el('a', { href: /^https:\/\//.test(url) ? url : null, target: '_blank', rel: 'noopener noreferrer' }, text);
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  const papers = value.papers || [];
  root.replaceChildren(el('article', { class: 'ha-article' },
    value.kind ? el('p', { class: 'ha-kind' }, value.kind) : null,
    value.title ? el('h2', {}, value.title) : null,
    value.sections.map((s) => [s.heading ? el('h3', {}, s.heading) : null, s.paragraphs.map((p) => el('p', {}, rich(p)))]),
    value.terms ? el('dl', { class: 'ha-facts ha-glossary' }, value.terms.map((t) => [el('dt', {}, t.term), el('dd', {}, rich(t.meaning))])) : null,
    papers.length ? [value.title ? null : el('h3', {}, 'Read on'), el('ul', { class: 'ha-papers' }, papers.map((p) => el('li', {},
      `${p.authors} (${p.year}). `, away(p.url, p.title), `. ${p.venue}.`, p.why ? el('span', { class: 'ha-why' }, ` Here for: ${p.why}.`) : null)))] : null,
    value.groups ? [el('h3', {}, 'Research groups'), el('ul', { class: 'ha-papers' }, value.groups.map((g) => el('li', {}, away(g.url, g.name), `. ${g.sentence}`)))] : null));
};
watch('value', draw);
draw();
