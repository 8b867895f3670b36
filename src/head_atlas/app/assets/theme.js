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
