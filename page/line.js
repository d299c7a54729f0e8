// A line of text that is never HTML.
const place = element.querySelector('.text');
const show = () => {
  place.textContent = props.value || '';
};
watch('value', show);
show();
