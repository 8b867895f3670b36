// A first visit's tour: a card in the corner that blocks nothing, and a ring around what it speaks of. It can be left at
// any time and does not come again. Automated browsers see it only where the address asks for it (?tour=1).
const root = element.querySelector('.ha-tour-panel');
const KEY = 'head-atlas-tour';
const asked = new URLSearchParams(window.location.search).get('tour') === '1';
const seen = () => { try { return localStorage.getItem(KEY) !== null; } catch { return true; } };
const remember = () => { try { localStorage.setItem(KEY, 'seen'); } catch { /* a frame without storage */ } };
let step = 0;
let ring = null;
const mark = (found) => {
  if (ring) ring.classList.remove('ha-tour-mark');
  ring = found || null;
  if (ring) ring.classList.add('ha-tour-mark');
};
const target = (s) => (s.tab
  ? [...document.querySelectorAll('#tabs [role=tab]')].find((t) => t.textContent.trim() === s.tab)
  : document.querySelector(s.at));
// What the card covers, or what lies above or below the screen, comes to the top: once the visitor goes from step to step.
const showWhole = (found) => {
  const at = found.getBoundingClientRect(), card = root.firstChild.getBoundingClientRect();
  if (at.top >= 0 && (at.bottom <= card.top || (at.right <= card.left && at.bottom <= window.innerHeight))) return;
  found.scrollIntoView({ block: 'start', behavior: window.matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
};
// The page is still being drawn when the tour begins, so what it points at may come a little later.
const point = (at, tries, moved) => {
  const found = target(props.value.steps[at]);
  mark(found);
  if (found && moved) showWhole(found);
  if (!found && tries) setTimeout(() => { if (at === step && root.firstChild) point(at, tries - 1, moved); }, 300);
};
const leave = () => { remember(); mark(null); root.replaceChildren(); document.removeEventListener('keydown', key); };
const key = (e) => { if (e.key === 'Escape' && !document.querySelector(':popover-open')) leave(); };
const show = (focus) => {
  const { title, steps } = props.value, last = step === steps.length - 1;
  const go = (by) => () => { step += by; show(by > 0 ? 'next' : 'back'); };
  const next = el('button', { type: 'button', class: 'ha-tour-next', on: { click: last ? leave : go(1) } }, last ? 'Done' : 'Next');
  const back = step ? el('button', { type: 'button', on: { click: go(-1) } }, 'Back') : null;
  root.replaceChildren(el('section', { class: 'ha-tour', 'aria-label': title },
    el('p', { class: 'ha-kind' }, `${title} · ${step + 1} of ${steps.length}`),
    el('p', { 'aria-live': 'polite' }, steps[step].text),
    el('div', { class: 'ha-tour-buttons' }, last ? null : el('button', { type: 'button', on: { click: leave } }, 'Skip the tour'), back, next)));
  point(step, 20, focus);
  if (focus) (focus === 'back' && back ? back : next).focus({ preventScroll: true });
};
if (asked || (!seen() && !navigator.webdriver && !window.location.search)) { document.addEventListener('keydown', key); show(); }
