// Colours of states: told apart on light and on dark paper, in the order of the states.

const HUES = [211, 28, 148, 330, 265, 52, 185, 2, 95, 235];

function stateColour(number) {
  const turn = Math.floor(number / HUES.length);
  const light = isDark() ? 66 - 8 * (turn % 3) : 40 + 8 * (turn % 3);
  return `hsl(${HUES[number % HUES.length]}, ${70 - 12 * (turn % 4)}%, ${light}%)`;
}

function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
