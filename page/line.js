// A line of text that is never HTML.
const place = element.querySelector('.text');
const show = () => {
  place.textContent = props.value || '';
  place.classList.toggle('long', place.textContent.length > 100); // it takes a row of its own, and is never cut
};
watch('value', show);
show();
