// One head's card in a frame. The page is constant; the numbers come as JSON and are drawn with text nodes.
const place = document.querySelector('main');
const asked = new URLSearchParams(window.location.search);
const theme = asked.get('__theme'), system = matchMedia('(prefers-color-scheme: dark)');
const light = () => document.body.classList.toggle('dark', theme === 'dark' || (theme !== 'light' && system.matches));
system.addEventListener('change', light);
light();
const full = (query) => {
  const to = new URL(window.location.pathname, window.location.origin);
  to.search = [query, ['dark', 'light'].includes(theme) ? `__theme=${theme}` : ''].filter(Boolean).join('&');
  return el('a', { class: 'ha-open', href: to.href, target: '_blank', rel: 'noopener' }, 'Open in Head Atlas');
};
const card = (value) => el('article', { class: 'ha-headline-panel ha-head-panel' },
  el('header', { class: 'ha-card-head' }, el('div', {}, el('h1', {}, value.title), el('p', {}, value.subtitle)), full(value.query)),
  value.marks.length ? el('ul', { class: 'ha-marks', 'aria-label': 'roles and states' }, value.marks.map((m) => el('li', {}, m))) : null,
  el('p', { class: 'ha-sentence' }, value.sentence), drawSections(value.sections),
  value.folded.map((f) => el('details', { class: 'ha-notes' }, el('summary', {}, f.summary), drawSections([f.section]))),
  el('p', { class: 'ha-from' }, value.from));
const refused = (text) => [emptyNote(text), full('')];
(async () => {
  try {
    const query = new URLSearchParams([...asked].filter(([key]) => ['model', 'head', 'mode'].includes(key)));
    const answer = await fetch(`embed/head.json?${query}`), value = await answer.json();
    if (value.title) document.title = `${value.title} · ${value.subtitle} · Head Atlas`;
    place.replaceChildren(...('empty' in value ? refused(value.empty) : [card(value)]));
  } catch { place.replaceChildren(...refused('The server did not answer; reload to try again.')); }
})();
