// Sorting of tables, and everything open on paper.

function sortable(table) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", { type: "button", click: () => sort(head, column) }, ...head.childNodes);
    head.replaceChildren(button);
  });

  function sort(head, column) {
    const isUp = head.getAttribute("aria-sort") !== "ascending";
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => {
      const cell = row.cells[column];
      return { row, value: cell.dataset.v === undefined ? null : Number(cell.dataset.v), text: cell.textContent };
    });
    const isNumber = rows.some((one) => one.value !== null);
    rows.sort((one, other) => {
      if (isNumber && (one.value === null || other.value === null)) {
        return Number(one.value === null) - Number(other.value === null);
      }
      const order = isNumber ? one.value - other.value : one.text.localeCompare(other.text, undefined, { numeric: true });
      return isUp ? order : -order;
    });
    body.replaceChildren(...rows.map((one) => one.row));
  }
}

document.querySelectorAll("table.sortable").forEach(sortable);
curvesSection();
parallelSection();
resourcesSection();

let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((one) => { one.open = true; });
});
window.addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));
