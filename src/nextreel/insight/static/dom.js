// Elements. Text goes in as text alone: whatever a title is called, it is never read as markup.

export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else if (key === "vars") for (const [name, v] of Object.entries(value)) made.style.setProperty(name, v);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// Say something to those who listen to the screen.
export function say(text) {
  document.getElementById("said").textContent = text;
}
