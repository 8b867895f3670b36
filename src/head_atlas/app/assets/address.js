// The address bar: the page writes its state there, and going back or forward restores it.
// Keys that begin with "__" belong to Gradio (the theme, for one) and stay as they are.
const ours = () => {
  const all = new URLSearchParams(window.location.search), kept = new URLSearchParams();
  for (const [k, v] of all) if (!k.startsWith('__')) kept.append(k, v);
  return kept.toString();
};
const write = () => {
  const value = props.value;
  if (!value || typeof value.query !== 'string') return;
  const next = new URLSearchParams(value.query);
  if (next.toString() === ours()) return;
  const all = new URLSearchParams(window.location.search);
  for (const [k, v] of all) if (k.startsWith('__')) next.append(k, v);
  const query = next.toString();
  const url = window.location.pathname + (query ? '?' + query : '');
  if (value.replace || !ours()) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  // On Spaces the page is a frame; the outer page keeps its own address.
  if (window.parent !== window) window.parent.postMessage({ queryString: query }, 'https://huggingface.co');
};
window.addEventListener('popstate', () => trigger('navigate', { query: window.location.search.slice(0, 4000) }));
watch('value', write);
write();
