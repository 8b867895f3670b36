// The address bar: the page writes its state there, and going back or forward restores it.
// Keys that begin with "__" belong to Gradio (the theme, for one) and stay as they are.
const mine = (all) => { const kept = new URLSearchParams(); for (const [k, v] of all) if (!k.startsWith('__')) kept.append(k, v); return kept; };
const theirs = (all) => { const kept = new URLSearchParams(); for (const [k, v] of all) if (k.startsWith('__')) kept.append(k, v); return kept; };
// Gradio asks the server to fill the page only when every component is there, and sends what the address bar says by
// then. Until the page is filled nothing may be written there, not even by a visitor who clicks on meanwhile.
let filled = mine(new URLSearchParams(window.location.search)).toString() === '';
const write = () => {
  const value = props.value;
  if (value && value.filled) filled = true;
  if (!filled || !value || typeof value.query !== 'string') return;
  const here = new URLSearchParams(window.location.search);
  if (mine(new URLSearchParams(value.query)).toString() === mine(here).toString()) return;
  // The server's own spelling is kept: it leaves commas readable.
  const query = [value.query, theirs(here).toString()].filter(Boolean).join('&');
  history.pushState(null, '', window.location.pathname + (query ? '?' + query : ''));
  // On Spaces the page is a frame; the outer page keeps its own address.
  if (window.parent !== window) window.parent.postMessage({ queryString: query }, 'https://huggingface.co');
};
// What is asked for stands in the value: of several steps back in a row, only the last one's may be shown.
window.addEventListener('popstate', () => {
  props.value = { ...props.value, query: window.location.search.slice(1, 4000) };
  trigger('navigate', {});
});
watch('value', write);
write();
