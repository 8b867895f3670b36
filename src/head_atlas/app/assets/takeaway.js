// Files of a result: each is made here, in the page, out of the text that the server sent.
const root = element.querySelector('.ha-takeaway-panel');
const save = (name, blob) => {
  const link = el('a', { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
// A picture is drawn as an image, where no script runs, on the paper of a page.
const png = (file, button) => {
  const url = URL.createObjectURL(new Blob([file.text], { type: file.mime })), image = new Image();
  image.onload = () => {
    const canvas = el('canvas', { width: image.width * 2, height: image.height * 2 }), c = canvas.getContext('2d');
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    c.fillStyle = dark ? '#182023' : '#ffffff';
    c.fillRect(0, 0, canvas.width, canvas.height);
    c.drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(url);
    canvas.toBlob((blob) => { if (blob) save(file.name.replace(/svg$/, 'png'), blob); else button.textContent = 'PNG: not possible'; });
  };
  image.onerror = () => { URL.revokeObjectURL(url); button.textContent = 'PNG: not possible'; };
  image.src = url;
};
const button = (label, act) => { const node = el('button', { type: 'button', class: 'ha-file' }, label); node.addEventListener('click', () => act(node)); return node; };
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  const code = value.files.find((file) => file.mime === 'text/x-python');
  const buttons = value.files.flatMap((file) => [
    button(file.name, () => save(file.name, new Blob([file.text], { type: file.mime }))),
    file.mime === 'image/svg+xml' ? button(file.name.replace(/svg$/, 'png'), (node) => png(file, node)) : null]);
  root.replaceChildren(
    el('div', { class: 'ha-filelist' }, buttons.filter(Boolean)),
    value.left_out.length ? el('p', { class: 'ha-lead' }, `Left out: ${value.left_out.join('; ')}.`) : '',
    code ? el('pre', { class: 'ha-code', tabindex: '0', 'aria-label': 'Python that makes this result again' }, code.text) : '');
};
watch('value', draw);
draw();
