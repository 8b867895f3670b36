// What stands on the page as an SVG that stands alone: every box, line and word where it is, in the light colours, with a
// title, a description, and the facts on where the numbers are from. Stands between common.js and what can be saved.
const picture = async (node, title, lines) => {
  // XML forbids some characters; tokens may be made of them.
  const clean = (text) => text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd');
  const dot = el('canvas', { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  const known = new Map();
  // CSS mixes colours in spaces that few readers of SVG know.
  const colour = (text) => {
    if (!known.has(text)) {
      dot.clearRect(0, 0, 1, 1);
      dot.fillStyle = text;
      dot.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = dot.getImageData(0, 0, 1, 1).data;
      known.set(text, { fill: `#${[r, g, b].map((x) => x.toString(16).padStart(2, '0')).join('')}`, alpha: a / 255 });
    }
    return known.get(text);
  };
  const pen = document.createElement('canvas').getContext('2d');
  const places = (x) => String(+x.toFixed(2));
  const FONT = 'IBM Plex Sans, system-ui, sans-serif', MONO = 'IBM Plex Mono, ui-monospace, monospace';
  const word = (text, x, y, style, width) => svg('text', {
    x: places(x), y: places(y), fill: style.fill, 'fill-opacity': style.alpha < 1 ? places(style.alpha) : null, 'font-size': style.size, 'font-weight': style.bold ? 700 : null,
    'font-family': style.mono ? MONO : null, textLength: width ? places(width) : null, lengthAdjust: width ? 'spacingAndGlyphs' : null,
  }, clean(text));
  const opaque = (c, opacity) => (c.alpha * opacity < 0.999 ? places(c.alpha * opacity) : null);
  const marks = [];
  let origin = null, right = 0, bottom = 0;
  const reach = (box) => { right = Math.max(right, box.right - origin.left); bottom = Math.max(bottom, box.bottom - origin.top); };
  const rect = (box, attributes) => {
    reach(box);
    marks.push(svg('rect', { x: places(box.left - origin.left), y: places(box.top - origin.top), width: places(box.width), height: places(box.height), ...attributes }));
  };
  const radius = (style, box) => {
    const text = style.borderTopLeftRadius.split(' ')[0], r = parseFloat(text) || 0;
    const most = Math.min(box.width, box.height) / 2, found = Math.min(most, text.endsWith('%') ? r * Math.min(box.width, box.height) / 100 : r);
    return found > 0.2 ? places(found) : null;
  };
  const grown = (box, by) => ({ left: box.left - by, top: box.top - by, right: box.right + by, bottom: box.bottom + by, width: box.width + 2 * by, height: box.height + 2 * by });
  const textStyle = (style, opacity) => {
    const c = colour(style.color);
    return { fill: c.fill, alpha: c.alpha * opacity, size: parseFloat(style.fontSize), bold: +style.fontWeight >= 600, mono: /mono/i.test(style.fontFamily), font: `${style.fontWeight} ${style.fontSize} ${style.fontFamily}` };
  };
  const baseline = (box, font) => {
    pen.font = font;
    const m = pen.measureText('x');
    return box.top + (box.height - m.fontBoundingBoxAscent - m.fontBoundingBoxDescent) / 2 + m.fontBoundingBoxAscent - origin.top;
  };
  const boxed = (style, box, opacity) => {
    if (box.width <= 0 || box.height <= 0) return;
    const fill = colour(style.backgroundColor), rx = radius(style, box), image = style.backgroundImage;
    if (fill.alpha > 0) rect(box, { fill: fill.fill, 'fill-opacity': opaque(fill, opacity), rx });
    if (image.startsWith('repeating')) rect(box, { fill: 'url(#hatch)', rx });
    const sides = ['Top', 'Right', 'Bottom', 'Left'].map((side) => ({ width: parseFloat(style[`border${side}Width`]), kind: style[`border${side}Style`], colour: colour(style[`border${side}Color`]) }));
    const seen = (s) => s.width > 0 && s.kind !== 'none' && s.kind !== 'hidden' && s.colour.alpha > 0;
    const line = (s) => ({ stroke: s.colour.fill, 'stroke-opacity': opaque(s.colour, opacity), 'stroke-width': s.width, 'stroke-dasharray': s.kind === 'dotted' ? '1 2.5' : s.kind === 'dashed' ? '4 3' : null });
    if (sides.every((s) => seen(s) && s.width === sides[0].width && s.colour.fill === sides[0].colour.fill)) rect(grown(box, -sides[0].width / 2), { fill: 'none', rx, ...line(sides[0]) });
    else {
      const ends = [[box.left, box.top, box.right, box.top], [box.right, box.top, box.right, box.bottom], [box.left, box.bottom, box.right, box.bottom], [box.left, box.top, box.left, box.bottom]];
      sides.forEach((s, i) => { if (seen(s)) { const [a, b, c, d] = ends[i]; marks.push(svg('line', { x1: places(a - origin.left), y1: places(b - origin.top), x2: places(c - origin.left), y2: places(d - origin.top), ...line(s) })); } });
    }
    const outline = parseFloat(style.outlineWidth);
    const by = parseFloat(style.outlineOffset) + outline / 2;
    if (outline > 0 && !['none', 'auto'].includes(style.outlineStyle)) rect(grown(box, by), { fill: 'none', rx: rx && places(+rx + by), stroke: colour(style.outlineColor).fill, 'stroke-width': outline });
  };
  // A run of text, line by line as the page broke it.
  const written = (node, style, opacity) => {
    const look = textStyle(style, opacity), range = document.createRange(), lines = [];
    const add = (from, to) => {
      range.setStart(node, from);
      range.setEnd(node, to);
      const boxes = range.getClientRects();
      if (!boxes.length) return;
      if (boxes.length > 1 && to - from > 1) { for (let i = from; i < to;) { const n = node.data.codePointAt(i) > 0xffff ? 2 : 1; add(i, i + n); i += n; } return; }
      const last = lines[lines.length - 1], box = boxes[0];
      if (last && Math.abs(last.box.top - box.top) < 2 && box.left >= last.box.left) { last.to = to; last.right = box.right; } else lines.push({ from, to, box, right: box.right });
    };
    for (const found of node.data.matchAll(/\S+/g)) add(found.index, found.index + found[0].length);
    for (const { from, to, box, right: end } of lines) {
      let text = node.data.slice(from, to).replace(/\s+/g, ' ');
      if (style.textTransform === 'uppercase') text = text.toUpperCase();
      if (box.width < 0.5 && end - box.left < 0.5) continue;
      if (style.writingMode.startsWith('vertical')) {
        reach(box);
        const x = box.left + box.width / 2 - origin.left + look.size * 0.35, y = box.bottom - origin.top;
        const node = word(text, x, y, look);
        node.setAttribute('transform', `rotate(-90 ${places(x)} ${places(y)})`);
        marks.push(node);
        continue;
      }
      reach({ right: end, bottom: box.bottom });
      marks.push(word(text, box.left - origin.left, baseline(box, look.font), look, end - box.left));
    }
    return lines;
  };
  const besides = (node, which, box, opacity, lines) => {
    const style = getComputedStyle(node, which);
    if (style.content === 'none' || style.content === 'normal') return;
    if (style.position === 'absolute') {
      const left = box.left + parseFloat(style.left), top = box.top + parseFloat(style.top), width = parseFloat(style.width), height = parseFloat(style.height);
      if ([left, top, width, height].every(Number.isFinite)) boxed(style, { left, top, width, height, right: left + width, bottom: top + height }, opacity);
      return;
    }
    // A swatch before a word.
    if (style.content === '""' && style.display === 'inline-block' && which === '::before') {
      const width = parseFloat(style.width), height = parseFloat(style.height), top = box.top + (box.height - height) / 2;
      boxed(style, { left: box.left, top, width, height, right: box.left + width, bottom: top + height }, opacity);
      return;
    }
    const text = (/^"((?:[^"\\]|\\.)*)"/.exec(style.content) || [])[1], line = which === '::after' ? lines[lines.length - 1] : lines[0];
    if (!text || !text.trim() || !line) return;
    const look = textStyle(style, opacity);
    marks.push(word(text.trim(), (which === '::after' ? line.right + 4 : box.left) - origin.left, baseline(line.box, look.font), look));
  };
  // Takes what a canvas would be told to draw.
  const shapes = (box) => {
    let [left, top] = [box.left - origin.left, box.top - origin.top];
    return {
      translate(x, y) { left += x; top += y; },
      fillRect(x, y, w, h) { marks.push(svg('rect', { x: places(left + x), y: places(top + y), width: places(w), height: places(h), fill: colour(this.fillStyle).fill })); },
      fillText(text, x, y) {
        const size = parseFloat(this.font), node = word(text, left + x, top + y + size * 0.35, { ...colour(this.fillStyle), size, mono: true });
        node.setAttribute('text-anchor', this.textAlign === 'right' ? 'end' : 'start');
        marks.push(node);
      },
      strokeRect() { /* the cross-hair is where the pointer is */ },
    };
  };
  const KEPT = ['fill', 'fill-opacity', 'stroke', 'stroke-opacity', 'stroke-width', 'stroke-dasharray', 'stroke-linecap', 'opacity', 'visibility', 'font-size', 'text-anchor'];
  const drawing = (node, box) => {
    const copy = node.cloneNode(true), from = [node, ...node.querySelectorAll('*')];
    [copy, ...copy.querySelectorAll('*')].forEach((to, i) => {
      const style = getComputedStyle(from[i]);
      for (const name of [...to.getAttributeNames()]) if (/^(class|style|role|tabindex|aria-|on)/.test(name)) to.removeAttribute(name);
      KEPT.forEach((key) => { const v = style.getPropertyValue(key); to.setAttribute(key, /^(fill|stroke)$/.test(key) && v !== 'none' ? colour(v).fill : v); });
      [...to.childNodes].forEach((child) => { if (child.nodeType === 3) child.data = clean(child.data); });
    });
    Object.entries({ x: box.left - origin.left, y: box.top - origin.top, width: box.width, height: box.height }).forEach(([k, v]) => copy.setAttribute(k, places(v)));
    reach(box);
    marks.push(copy);
  };
  const ramp = (node, box) => {
    const probe = el('i', {}), signed = node.classList.contains('ha-ramp-signed'), stops = [];
    node.append(probe);
    for (let i = 0; i <= 8; i++) { paint(probe, signed ? i / 4 - 1 : i / 8, signed); stops.push(svg('stop', { offset: i / 8, 'stop-color': colour(getComputedStyle(probe).backgroundColor).fill })); }
    probe.remove();
    const id = `ramp${marks.length}`;
    marks.push(svg('linearGradient', { id }, ...stops));
    rect(box, { fill: `url(#${id})`, rx: places(box.height / 2) });
  };
  const walk = (node, above) => {
    // A row that is no box of its own has cells all the same.
    if (getComputedStyle(node).display === 'contents') { [...node.children].forEach((child) => walk(child, above)); return; }
    if (!node.checkVisibility() || node.matches('.ha-sr, [popover], .ha-switch, .ha-live, .ha-pick, .ha-takes, .ha-saving, .ha-notes:not([open]), input, select, textarea')) return;
    const style = getComputedStyle(node), box = node.getBoundingClientRect(), opacity = above * parseFloat(style.opacity);
    if (node.matches('h2, h3, h4, .ha-headline') && node.textContent.trim() === title.trim()) return;
    // A line that says what is pointed at has another text at rest, or none.
    if (node.matches('.ha-grid-info')) {
      const look = textStyle(style, opacity), text = node.dataset.pictured || '';
      if (text) { pen.font = look.font; reach({ right: box.left + pen.measureText(text).width, bottom: box.top + look.size * 1.6 }); marks.push(word(text, box.left - origin.left, box.top - origin.top + look.size * 1.2, look)); }
      return;
    }
    if (node instanceof SVGElement) { drawing(node, box); return; }
    if (node.haOnto) { reach(box); node.haOnto(shapes(box)); return; }
    if (node.tagName === 'CANVAS') { reach(box); marks.push(svg('image', { x: places(box.left - origin.left), y: places(box.top - origin.top), width: places(box.width), height: places(box.height), href: node.toDataURL() })); return; }
    if (node.classList.contains('ha-ramp')) { ramp(node, box); return; }
    const start = marks.length;
    if (style.visibility === 'visible') boxed(style, box, opacity);
    if (node.classList.contains('is-removed')) marks.push(svg('line', { x1: places(box.left - origin.left), y1: places(box.bottom - origin.top), x2: places(box.right - origin.left), y2: places(box.top - origin.top), stroke: colour(style.outlineColor).fill, 'stroke-width': 2.5 }));
    const lines = [], said = node.matches('[role=gridcell], [role=option], [role=listitem]') && node.getAttribute('aria-label');
    for (const child of node.childNodes) {
      if (child.nodeType === 3 && style.visibility === 'visible') lines.push(...written(child, style, opacity));
      else if (child.nodeType === 1) walk(child, opacity);
    }
    if (style.visibility === 'visible') ['::before', '::after'].forEach((which) => besides(node, which, box, opacity, lines));
    // What pointing at it says stays with it.
    if (said) { const own = marks.splice(start); marks.push(svg('g', {}, svg('title', {}, clean(said)), ...own)); }
  };
  const body = document.body, dark = body.classList.contains('dark');
  body.classList.add('ha-still');
  body.classList.remove('dark');
  node.classList.add('is-pictured');
  try {
    // Canvases repaint themselves when the theme changes, before this goes on; nothing of it reaches the screen.
    await null;
    origin = node.getBoundingClientRect();
    walk(node, 1);
  } finally {
    node.classList.remove('is-pictured');
    body.classList.toggle('dark', dark);
    body.classList.remove('ha-still');
  }
  const M = 16, width = Math.max(right, 280), above = [], below = [];
  let y = M;
  const wrapped = (text, size, bold, into, fill) => {
    pen.font = `${bold ? 700 : 400} ${size}px ${FONT}`;
    const put = (line) => { y += size * 1.35; into.push(word(line, M, y, { fill, alpha: 1, size, bold }, pen.measureText(line).width)); };
    let line = '';
    for (const part of clean(text).split(/\s+/).flatMap((w) => w.match(/.{1,64}/gu) || [])) {
      if (line && pen.measureText(`${line} ${part}`).width > width) { put(line); line = part; } else line = line ? `${line} ${part}` : part;
    }
    if (line) put(line);
  };
  wrapped(title, 15, true, above, '#1d2529');
  const down = y + 12;
  y = down + bottom + 8;
  lines.forEach((line) => wrapped(line, 11, false, below, '#56626a'));
  const height = y + M;
  const root = svg('svg', { xmlns: 'http://www.w3.org/2000/svg', viewBox: `0 0 ${places(width + 2 * M)} ${places(height)}`, width: places(width + 2 * M), height: places(height), role: 'img', 'font-family': FONT },
    svg('title', {}, clean(title)), svg('desc', {}, clean(lines.join('. '))),
    svg('defs', {}, svg('pattern', { id: 'hatch', width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' }, svg('path', { d: 'M0 0V6', stroke: '#8a9096', 'stroke-width': 1.5 }))),
    svg('rect', { width: '100%', height: '100%', fill: '#ffffff' }), ...above, svg('g', { transform: `translate(${M} ${places(down)})` }, ...marks), ...below);
  return { text: `${new XMLSerializer().serializeToString(root)}\n`, width: width + 2 * M, height };
};
