// Builds elements. Whatever comes from the daemon becomes text, and never markup: nothing here parses any.

/** An element with attributes (true: there, false: not) and children; strings become text. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function button(label, onClick, attributes = {}) {
  const element = el("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", onClick);
  return element;
}

/** Writes only what differs, so that nothing is announced or laid out anew without need. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A titled part of the page; `needs` names what makes it stale: "stream", or "stream inputs". */
export function panel(id, title, { needs = "stream", wide = false } = {}) {
  const body = el("div", { class: "body" });
  const note = el("span", { class: "stale-note" }, "stale");
  const heading = el("h2", { id: `${id}-title` }, title, " ", note);
  const classes = wide ? "panel wide" : "panel";
  const section = el("section", { id, class: classes, "data-needs": needs, "aria-labelledby": `${id}-title` }, heading, body);
  return { section, body };
}

/** Numbers stand to the right, what is to be kept on one line is, and what is long has room. */
const kind = ({ number, keep, long }) => (number ? "number" : keep ? "keep" : long ? "long" : undefined);

/**
 * A table that is updated in place, so that focus and selection stay where they are.
 *
 * A column has a title and `cell(row)`, which gives text, or an element that is made once for each row. `key(row)`
 * names a row.
 * On a narrow screen rows become cards, hence the roles, which say that they are still a table.
 */
export class Table {
  constructor(label, columns, key, empty) {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    const titles = columns.map((column) => el("th", { scope: "col", role: "columnheader", class: kind(column) }, column.title));
    this.head = el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...titles));
    this.body = el("tbody", { role: "rowgroup" });
    this.table = el("table", { role: "table", "aria-label": label }, this.head, this.body);
    this.saysEmpty = empty;
    this.empty = el("p", { class: "empty" }, "Waiting for the daemon.");
    this.scroller = el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": label }, this.table);
    this.element = el("div", {}, this.empty, this.scroller);
    this.scroller.hidden = true;
  }

  /** Before the first call nothing is known, and the table says so. */
  update(rows) {
    setText(this.empty, this.saysEmpty);
    this.empty.hidden = rows.length > 0;
    this.scroller.hidden = rows.length === 0;
    const before = this.rows;
    this.rows = new Map();
    rows.forEach((row, place) => {
      const key = this.key(row);
      const line = before.get(key) ?? this.build();
      before.delete(key);
      this.rows.set(key, line);
      this.fill(line, row);
      if (this.body.children[place] !== line.element) this.body.insertBefore(line.element, this.body.children[place] ?? null);
    });
    for (const line of before.values()) line.element.remove();
  }

  build() {
    const cells = this.columns.map((column) => el("td", { role: "cell", "data-label": column.title, class: kind(column) }));
    return { cells, element: el("tr", { role: "row" }, ...cells) };
  }

  fill(line, row) {
    this.columns.forEach(({ cell, tone }, place) => {
      const shown = cell(row);
      const target = line.cells[place];
      if (!(shown instanceof Node)) setText(target, shown ?? "–");
      else if (!target.firstElementChild) target.replaceChildren(shown);
      if (tone) target.dataset.tone = tone(row) ?? "";
    });
  }
}

/** Buttons for the pages of a list; `onTurn` is told the new offset. */
export class Pager {
  constructor(label, length, onTurn) {
    this.offset = 0;
    this.length = length;
    this.onTurn = onTurn;
    this.text = el("span", { "aria-live": "polite" });
    this.back = button("Previous", () => this.turn(-length), { "aria-label": `Previous ${label}` });
    this.next = button("Next", () => this.turn(length), { "aria-label": `Next ${label}` });
    this.element = el("nav", { class: "pager", "aria-label": `Pages of ${label}` }, this.back, this.text, this.next);
  }

  turn(by) {
    this.offset = Math.max(this.offset + by, 0);
    this.onTurn(this.offset);
  }

  update(total) {
    if (this.offset >= total) this.offset = Math.max(Math.ceil(total / this.length) - 1, 0) * this.length;
    const last = Math.min(this.offset + this.length, total);
    setText(this.text, total ? `${this.offset + 1} to ${last} of ${total}` : "none");
    this.back.disabled = this.offset === 0;
    this.next.disabled = last >= total;
    this.element.hidden = total <= this.length;
  }
}
