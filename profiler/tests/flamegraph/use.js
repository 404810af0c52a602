// Uses a flamegraph as a person does, and notes what it saw.
(function() {
  var errors = [];
  window.addEventListener("error", function(e) { errors.push(e.message); });
  window.alert = function(text) { errors.push("alert " + text); };
  var term = "";
  window.prompt = function() { return term; };
  function click(node) { node.dispatchEvent(new MouseEvent("click", {bubbles: true})); }
  function box(g) { return g.querySelector("rect"); }
  function look() {
    var seen = [];
    var all = Array.from(document.getElementById("frames").children);
    var shown = function() { return all.filter(function(g) { return !g.classList.contains("hide"); }); };
    var state = function() {
      return all.map(function(g) {
        var r = box(g);
        return [r.getAttribute("x"), r.getAttribute("width"), r.getAttribute("fill")].join();
      }).join(";");
    };
    var begin = state();
    seen.push("drawn: " + (all.length > 1 && shown().length == all.length ? "all" : all.length));
    // The narrowest frame that is not all of it.
    var target = all.reduce(function(a, b) {
      return +box(b).getAttribute("fg:w") < +box(a).getAttribute("fg:w") ? b : a;
    });
    target.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
    var name = target.querySelector("title").textContent;
    var details = document.getElementById("details").textContent;
    seen.push("tooltip: " + (details == "Frame: " + name ? "a name" : details));
    term = name.replace(/[^A-Za-z0-9_]/g, ".").substring(0, 40);
    click(document.getElementById("search"));
    var matched = document.getElementById("matched").textContent;
    seen.push("search: " + (/^Matched: [0-9.]+%$/.test(matched) ? "found" : matched) + ", " +
      (box(target).getAttribute("fill") == "#e600e6" || box(target).getAttribute("fill") == "rgb(230,0,230)"
        ? "marked" : box(target).getAttribute("fill")));
    click(document.getElementById("search"));
    seen.push("reset: " + (state() == begin ? "unmarked" : "changed"));
    click(box(target));
    var wide = parseFloat(box(target).getAttribute("width"));
    var hidden = all.length - shown().length;
    var parents = all.every(function(g) {
      return g.classList.contains("hide") || g == target || box(g).getAttribute("width") == "100.0%" ||
        +box(g).getAttribute("y") < +box(target).getAttribute("y") || wide == 100;
    });
    var alone = box(all[0]).getAttribute("fg:w") == box(target).getAttribute("fg:w");
    seen.push("zoom: " + (wide == 100 && parents ? "wider" : wide) + ", " +
      (hidden > 0 || alone ? "others hidden" : hidden));
    click(document.getElementById("unzoom"));
    seen.push("unzoom: " + (state() == begin && shown().length == all.length ? "as before" : "changed"));
    seen.unshift("errors: " + (errors.length ? errors.join(" | ") : "none"));
    return seen.join("; ");
  }
  window.addEventListener("load", function() {
    setTimeout(function() {
      var seen;
      try { seen = look(); } catch (e) { seen = "threw " + e; }
      document.documentElement.setAttribute("data-seen", seen);
    }, 200);
  });
})();
