// A formula within a line that is wider than the page gets a box of its own, which scrolls.
function fitFormulas() {
  for (const formula of document.querySelectorAll("span.math")) {
    formula.classList.remove("wide");
    formula.classList.toggle("wide", formula.getBoundingClientRect().width > formula.closest("p, td, li, dd, article").clientWidth);
  }
}
window.addEventListener("load", () => window.MathJax && MathJax.startup.promise.then(fitFormulas));
window.addEventListener("resize", fitFormulas);
