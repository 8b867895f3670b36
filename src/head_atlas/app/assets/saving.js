// Taking a figure or a table along: one small menu for each. Everything is made in the page, from what it shows.
const saveAs = (name, mime, parts) => {
  const url = URL.createObjectURL(new Blob(parts, { type: mime })), link = el('a', { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
};
const stemOf = (text) => `head-atlas-${text.normalize('NFKD').toLowerCase().replace(/(?<!\d)\.|\.(?!\d)/g, '-').replace(/[^a-z0-9.]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 80) || 'figure'}`;
// A cell that begins like a formula would run in a spreadsheet, so text that does gets an apostrophe.
const csvCell = (x) => {
  const text = x === null || x === undefined ? '' : typeof x === 'string' || typeof x === 'number' ? String(x) : JSON.stringify(x);
  const safe = typeof x === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
// A spreadsheet cuts the lines above the table at commas too. What would begin a cell there like a formula is written by
// its number, which JSON reads as the same text.
const aboutText = (value) => JSON.stringify(value ?? null).replace(/"(?:[^"\\]|\\.)*"/g, (text) => text.replace(/(^"|[,;]\s*)([=+\-@])/g,
  (_, before, sign) => `${before}\\u00${sign.charCodeAt(0).toString(16)}`));
const csvText = ({ title, about, columns, rows }) => [
  ...Object.entries({ title, ...about }).map(([key, value]) => `# ${key}: ${aboutText(value)}`),
  columns.map(csvCell).join(','), ...rows.map((row) => row.map(csvCell).join(','))].join('\r\n') + '\r\n';
const jsonText = ({ title, about, columns, rows }) => `${JSON.stringify({ title, ...about, rows: rows.map((row) => Object.fromEntries(columns.map((c, i) => [c, row[i]]))) }, null, 1)}\n`;
const aboutLines = (about) => [
  ['model_id', 'model_revision', 'head', 'measure', 'family', 'mode', 'unit'].filter((key) => about[key]).map((key) => `${key.replace('_id', '').replace('_', ' ')}: ${about[key]}`).join(' · '),
  // A figure of two models says where either is from.
  ...(about.first ? [about.first, about.second].flatMap(aboutLines) : [
    about.atlas ? `Head Atlas · ${about.published_at || about.atlas}${about.atlas_sha256 ? ` · sha256 ${about.atlas_sha256}` : ''}` : 'Head Atlas'])].filter(Boolean);
const pngOf = (made) => new Promise((resolve, reject) => {
  const url = URL.createObjectURL(new Blob([made.text], { type: 'image/svg+xml' })), image = new Image();
  image.onload = () => {
    // Browsers refuse canvases that are too large.
    const scale = Math.min(2, 8000 / Math.max(made.width, made.height));
    const canvas = el('canvas', { width: Math.round(made.width * scale), height: Math.round(made.height * scale) });
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(url);
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('empty'))));
  };
  image.onerror = () => { URL.revokeObjectURL(url); reject(new Error('not drawn')); };
  image.src = url;
});
window.haSaveAs = saveAs;
// One menu for the whole page: it opens at the button of a figure or a table. `figure` gives the element to be drawn from the button, or is
// null; `table` gives {columns, rows}, or is null; `about` says where the numbers are from. They are asked when one saves.
const said = el('span', { class: 'ha-sr', role: 'status' });
const menu = el('div', { popover: 'auto', class: 'ha-save-list', role: 'group' });
let opened = null;
menu.addEventListener('toggle', (e) => {
  if (!opened) return;
  opened.setAttribute('aria-expanded', String(e.newState === 'open'));
  if (e.newState !== 'open') return;
  const at = opened.getBoundingClientRect(), box = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(at.right - box.width, window.innerWidth - box.width - 8))}px`;
  menu.style.top = `${at.bottom + 4 + box.height < window.innerHeight ? at.bottom + 4 : Math.max(8, at.top - 4 - box.height)}px`;
  menu.querySelector('button').focus();
});
// It stands at the top of the page, and the Tab key goes on from the button that opened it.
menu.addEventListener('keydown', (e) => {
  if (e.key !== 'Tab' || e.target !== (e.shiftKey ? menu.firstElementChild : menu.lastElementChild)) return;
  if (e.shiftKey) e.preventDefault();
  menu.hidePopover();
  opened.focus();
});
// A press anywhere closes it, so also one on its button, whose click is not to open it again.
let pressed = null;
document.addEventListener('pointerdown', (e) => { pressed = menu.matches(':popover-open') && opened.contains(e.target) ? opened : null; }, true);
element.append(said, menu);
window.haSave = (opener, title, { figure = null, table = null, about = {} }) => {
  const again = pressed === opener;
  pressed = null;
  if (again) { menu.hidePopover(); return; }
  const whole = () => { const found = table ? table() : { columns: [], rows: [] }; return { title, columns: found.columns, rows: found.rows, about: { ...about, ...found.about } }; };
  const drawn = () => picture(figure(opener), title, aboutLines(whole().about));
  const make = {
    SVG: async (name) => saveAs(`${name}.svg`, 'image/svg+xml', [(await drawn()).text]),
    PNG: async (name) => saveAs(`${name}.png`, 'image/png', [await pngOf(await drawn())]),
    CSV: async (name) => saveAs(`${name}.csv`, 'text/csv', [csvText(whole())]),
    JSON: async (name) => saveAs(`${name}.json`, 'application/json', [jsonText(whole())]),
  };
  const kinds = [...(figure ? ['SVG', 'PNG'] : []), ...(table ? ['CSV', 'JSON'] : [])];
  const model = String(about.model_id || '');
  const name = stemOf([about.head, title, title.includes(model) ? '' : model].filter(Boolean).join(' '));
  const choose = async (kind) => {
    menu.hidePopover();
    // Of what was drawn again meanwhile, the picture would be of one result and the words below it of another.
    if (!opener.isConnected) { said.textContent = 'Not saved: this has changed meanwhile. Press Save again.'; return; }
    opener.focus();
    try { await make[kind](name); said.textContent = `Saved ${name}.${kind.toLowerCase()}`; } catch (error) { said.textContent = opener.title = `${kind} is not possible here: ${error.message}`; }
  };
  opened = opener;
  menu.setAttribute('aria-label', `Save ${title} as`);
  menu.replaceChildren(...kinds.map((kind) => el('button', { type: 'button', on: { click: () => choose(kind) } }, kind)));
  menu.showPopover();
};
