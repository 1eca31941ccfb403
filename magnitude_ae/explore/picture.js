// The picture of an explorer: it shows a PNG, and tells Python where it was brushed and clicked.
//
// A place is two numbers from 0 to 1, shares of the picture's width and height, with (0, 0) at the
// lower left, as matplotlib counts. A brush is a rectangle: left, bottom, right, top.

// A hand that clicks moves a little: what is shorter than this, in pixels, is no drag.
const SHORTEST_DRAG = 4;

// How far an arrow key moves the mark. The pictures are about twice as wide as high.
const STEPS = {
  ArrowLeft: [-0.01, 0],
  ArrowRight: [0.01, 0],
  ArrowUp: [0, 0.02],
  ArrowDown: [0, -0.02],
};

const clamp = (share) => Math.min(1, Math.max(0, share));

const rectangle = (a, b) => [
  Math.min(a[0], b[0]),
  Math.min(a[1], b[1]),
  Math.max(a[0], b[0]),
  Math.max(a[1], b[1]),
];

function render({ model, el }) {
  const frame = document.createElement("div");
  frame.className = "magnitude-frame";
  frame.dataset.lmSuppressShortcuts = "true"; // the arrow keys are ours, not JupyterLab's

  const img = document.createElement("img");
  img.draggable = false; // or the browser would carry the image away

  const mark = document.createElement("div");
  mark.className = "magnitude-mark";
  mark.hidden = true;

  frame.append(img, mark);
  el.append(frame);

  // From Python to the page

  const showPicture = () => {
    const previous = img.src;
    const blob = new Blob([model.get("png")], { type: "image/png" });
    img.src = URL.createObjectURL(blob);
    URL.revokeObjectURL(previous); // the browser keeps what a URL stands for until it is told
  };

  const showState = () => {
    const selectable = model.get("selectable");
    img.alt = model.get("description");
    img.tabIndex = selectable ? 0 : -1; // keys go to what has the focus
    frame.classList.toggle("magnitude-selectable", selectable);
  };

  model.on("change:png", showPicture);
  model.on("change:description change:selectable", showState);
  showPicture();
  showState();

  // The mark: two corners while something is marked. `start` is null when nothing is;
  // `end` stays where the pointer was last, and the keys go on from there.

  let start = null;
  let end = null;

  const drawMark = () => {
    mark.hidden = start === null;
    if (start === null) return;
    const [left, bottom, right, top] = rectangle(start, end);
    mark.style.left = `${100 * left}%`;
    mark.style.bottom = `${100 * bottom}%`;
    mark.style.width = `${100 * (right - left)}%`;
    mark.style.height = `${100 * (top - bottom)}%`;
  };

  // From the page to Python

  const send = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };

  const sendMark = () => {
    const [left, bottom, right, top] = rectangle(start, end);
    const wide = (right - left) * img.clientWidth > SHORTEST_DRAG;
    const high = (top - bottom) * img.clientHeight > SHORTEST_DRAG;
    if (wide || high) send("brush", [left, bottom, right, top]);
    else send("click", end);
  };

  // The pointer: a mouse, a pen or a finger

  let dragging = false;

  const placeOf = (event) => {
    const box = img.getBoundingClientRect();
    const right = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    return [clamp(right), clamp(1 - down)];
  };

  const endDrag = () => {
    dragging = false;
    start = null;
    drawMark();
  };

  img.addEventListener("pointerdown", (event) => {
    const leftButton = event.button === 0;
    if (!model.get("selectable") || !leftButton) return;
    dragging = true;
    img.setPointerCapture(event.pointerId); // a drag may end outside of the picture
    start = placeOf(event);
    end = start;
    drawMark();
  });

  img.addEventListener("pointermove", (event) => {
    if (!dragging) return;
    end = placeOf(event);
    drawMark();
  });

  img.addEventListener("pointerup", () => {
    if (!dragging) return;
    sendMark();
    endDrag();
  });

  img.addEventListener("pointercancel", endDrag); // the browser took the finger for a scroll

  // The keys: arrows move the mark, with Shift they pull a rectangle,
  // Enter sends it, Escape takes the brush back.

  const moveMark = (step, pulling) => {
    const from = end ?? [0.5, 0.5];
    end = [clamp(from[0] + step[0]), clamp(from[1] + step[1])];
    if (start === null || !pulling) start = end;
  };

  img.addEventListener("keydown", (event) => {
    const known = event.key in STEPS || event.key === "Enter" || event.key === "Escape";
    if (!model.get("selectable") || !known) return;
    event.preventDefault(); // or the page would scroll
    event.stopPropagation(); // or Enter would start to edit the cell
    if (event.key === "Escape") {
      start = null;
      send("brush", []);
    } else if (event.key === "Enter") {
      if (start !== null) sendMark();
    } else {
      moveMark(STEPS[event.key], event.shiftKey);
    }
    drawMark();
  });

  // When the picture leaves the page. Its listeners go with it; the model stays.
  return () => {
    model.off("change:png", showPicture);
    model.off("change:description change:selectable", showState);
    URL.revokeObjectURL(img.src);
  };
}

export default { render };
