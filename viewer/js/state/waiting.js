// What is said while an answer is on its way. Goes in: a phase and how far it is. Comes out: texts and a share.

// Returns a time in words, rounded to what people use: "6 s", "2 min".
export function durationText(seconds) {
  if (seconds < 100) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.round(seconds / 60)} min`;
}

// Returns {title, time, share}; a share of null is not known.
export function waitingTexts(phase, { ahead = 0, count = 0, limit = 0, plan = '', seconds = 0, wait = 0 }) {
  if (phase === 'writing') {
    const words = `${count} token${count === 1 ? '' : 's'}`;
    return {
      title: words,
      time: `· ${seconds.toFixed(1)} s · underlines come with the last word`,
      share: limit ? count / limit : null,
    };
  }
  if (phase === 'reading')
    return {
      title: 'Reading the picture',
      time: `· ${seconds.toFixed(1)} s${plan ? ` · ${plan}` : ''}`,
      share: null,
    };
  const time = wait ? `· about ${durationText(wait)}` : `· ${Math.round(seconds)} s so far`;
  return {
    title: ahead ? `${ahead} ahead of you` : 'Waiting for the model',
    time: ahead ? time : '',
    share: null,
  };
}
