// On a phone the picture stays at the top and all else scrolls under it: how high it is, and what comes into sight there.

// Returns {come, stop}: come scrolls a part of the viewer to just under what is pinned. Elsewhere all parts are in sight.
export function addPinned({ root, part }) {
  const pinned = [root.querySelector('.lens-right'), part('notice')];
  const measure = () => {
    const [picture, notice] = pinned.map(heightOf);
    root.style.setProperty('--picture-height', `${picture}px`);
    root.style.setProperty('--pinned-height', `${picture + notice}px`);
    return picture + notice;
  };
  const observer = new ResizeObserver(measure);
  for (const one of pinned) observer.observe(one);
  return {
    come(name) {
      const height = measure();
      if (!height || part(name).hidden) return;
      const body = root.querySelector('.lens-body'); // it alone: a notebook around stays where it is
      const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches;
      body.scrollBy({
        top: part(name).getBoundingClientRect().top - body.getBoundingClientRect().top - height,
        behavior: isStill ? 'instant' : 'smooth',
      });
    },
    stop: () => observer.disconnect(),
  };
}

const heightOf = (element) =>
  getComputedStyle(element).position === 'sticky' ? element.getBoundingClientRect().height : 0;
