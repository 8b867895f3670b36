// The header: a way past the menus, and the choice of light or dark.
element.querySelector('.ha-skip').addEventListener('click', (e) => {
  // The address is the page's state, so no fragment is added to it.
  e.preventDefault();
  const panel = [...document.querySelectorAll('#tabs > [role=tabpanel]')].find((p) => p.checkVisibility());
  if (panel) { panel.setAttribute('tabindex', '-1'); panel.focus(); }
});
// Gradio's menus open on every key, so also on the Tab that leaves them, and then stay open over the page.
const PASSING = ['Tab', 'Shift', 'Control', 'Alt', 'Meta'];
window.addEventListener('keydown', (e) => {
  if (!PASSING.includes(e.key) || !e.target.matches?.('input[role=listbox], input[role=combobox]')) return;
  e.stopPropagation();
  // A long list scrolls, which makes it a stop of its own, and it goes away on the way there.
  document.querySelectorAll('ul[role=listbox]').forEach((list) => list.setAttribute('tabindex', '-1'));
}, true);
// Light or dark: follows the system until the visitor chooses.
const button = element.querySelector('.ha-theme');
const KEY = 'head-atlas-theme';
const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
const forced = new URLSearchParams(window.location.search).has('__theme');
if (!forced && stored()) document.body.classList.toggle('dark', stored() === 'dark');
button.addEventListener('click', () => {
  const dark = document.body.classList.toggle('dark');
  try { localStorage.setItem(KEY, dark ? 'dark' : 'light'); } catch { /* a frame without storage */ }
});
