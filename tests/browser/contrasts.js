// The smallest contrast of text on every colour that the page paints.
() => {
  const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
  const c = canvas.getContext('2d', { willReadFrequently: true });
  const luminance = (colour) => { c.fillStyle = colour; c.fillRect(0, 0, 1, 1);
    const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = c.getImageData(0, 0, 1, 1).data; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
  const worst = {};
  const host = document.querySelector('#start-grid .ha-grid');
  for (const kind of ['low', 'high', 'minus', 'plus']) for (let i = 0; i <= 50; i++) {
    const cell = document.createElement('i'); cell.className = 'ha-cell paint-' + kind; cell.style.setProperty('--t', i / 50);
    cell.style.transition = 'none'; host.append(cell); const s = getComputedStyle(cell);
    worst[kind] = Math.min(worst[kind] ?? 99, ratio(s.color, s.backgroundColor)); cell.remove(); }
  const root = getComputedStyle(document.querySelector('.gradio-container')); const v = (n) => root.getPropertyValue(n).trim();
  for (const ink of ['--ha-ink', '--ha-soft', '--ha-accent']) for (const paper of ['--ha-paper', '--ha-sunk'])
    worst[ink + paper] = ratio(v(ink), v(paper));
  worst.bad = ratio(v('--ha-bad'), v('--ha-bad-soft')); worst.note = ratio(v('--ha-ink'), v('--ha-note-soft'));
  return worst; }
