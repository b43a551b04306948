// Builds elements, and brings what is shown into the form of what was built.
//
// Everything from outside goes in as text; there is no way here to hand in HTML. Views build a whole
// new tree each time, and `morph` changes only what differs, so that focus, what is typed and what is
// unfolded stay as they are.

const SVG = "http://www.w3.org/2000/svg";

// Make an element: properties are attributes (true: there, false or null: not), children are
// elements or texts; null and false are left out.
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

// Let `container` hold what `wanted` lists, reusing what it holds already.
export function show(container, ...wanted) {
  const fresh = filled(container.cloneNode(false), {}, wanted);
  morphChildren(container, fresh);
}

function morph(before, wanted) {
  if (before.nodeType === Node.TEXT_NODE) {
    if (before.data !== wanted.data) before.data = wanted.data;
    return;
  }
  for (const { name } of [...before.attributes]) {
    // Whether something is unfolded is up to its reader.
    if (!wanted.hasAttribute(name) && name !== "open") before.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (before.getAttribute(name) !== value) before.setAttribute(name, value);
  }
  if (before.localName !== "textarea") morphChildren(before, wanted);
}

function morphChildren(before, wanted) {
  const keyed = new Map();
  for (const child of before.childNodes) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let place = before.firstChild;
  for (const child of [...wanted.childNodes]) {
    const key = keyOf(child);
    let match = key === null ? place : keyed.get(key);
    if (match && !alike(match, child)) match = null;
    if (!match) {
      before.insertBefore(child, place);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else before.insertBefore(match, place);
    morph(match, child);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}
