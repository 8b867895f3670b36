// Files of a result, out of the text that the server sent.
const root = element.querySelector('.ha-takeaway-panel');
const button = (label, act) => { const node = el('button', { type: 'button', class: 'ha-file' }, label); node.addEventListener('click', () => act(node)); return node; };
const draw = () => {
  const value = props.value;
  if (!value || 'empty' in value) { root.replaceChildren(emptyNote((value && value.empty) || '')); return; }
  const code = value.files.find((file) => file.mime === 'text/x-python');
  const buttons = value.files.map((file) => button(file.name, () => window.haSaveAs(file.name, file.mime, [file.text])));
  root.replaceChildren(
    el('div', { class: 'ha-filelist' }, buttons),
    value.left_out.length ? el('p', { class: 'ha-lead' }, `Left out: ${value.left_out.join('; ')}.`) : '',
    code ? el('pre', { class: 'ha-code', tabindex: '0', 'aria-label': 'Python that makes this result again' }, code.text) : '');
};
watch('value', draw);
draw();
