"""The script of the page: it replaces what changed, and says loudly when it hears nothing any more.

It holds nothing from outside: names come as HTML that the server escaped, and the page's policy lets no other
script run.
"""

SCRIPT = """
"use strict";
(() => {
  const element = id => document.getElementById(id);
  const link = element("link"), said = element("said"), waiting = {};
  const SILENCE = 30000, AGAIN = 3000, SPEAK = 5000;
  let source, heard = Date.now(), again, spoken = 0, newest = highest();

  function rows() { return [...document.querySelectorAll("[data-number]")]; }
  function highest() { return Math.max(0, ...rows().map(row => Number(row.dataset.number))); }

  function tell(text, kind) {
    if (link.textContent !== text) { link.textContent = text; link.className = kind; }
  }

  // What somebody is about to copy stays until he lets go of it.
  function held(part) {
    const chosen = getSelection();
    return chosen.rangeCount && !chosen.isCollapsed && part.contains(chosen.anchorNode);
  }

  function show() {
    for (const id of Object.keys(waiting)) {
      const part = element(id);
      if (held(part)) continue;
      part.innerHTML = waiting[id];
      delete waiting[id];
    }
    const fresh = rows().filter(row => Number(row.dataset.number) > newest);
    for (const row of fresh) row.classList.add("new");
    newest = Math.max(newest, highest());
    const loud = fresh.find(row => !row.classList.contains("allowed"));
    if (loud && Date.now() - spoken > SPEAK) {
      spoken = Date.now();
      said.textContent = [".outcome", ".name", ".why"].map(of => loud.querySelector(of).textContent).join(" ");
    }
  }

  function open() {
    clearTimeout(again);
    if (source) source.close();
    heard = Date.now();
    source = new EventSource("events");
    source.onopen = source.onmessage = () => { heard = Date.now(); tell("live", "live"); };
    source.addEventListener("parts", event => {
      heard = Date.now();
      Object.assign(waiting, JSON.parse(event.data));
      show();
    });
    source.onerror = () => {
      const at = new Date(heard).toISOString().slice(11, 19);
      tell("no connection: shown as of " + at + " UTC", "lost");
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, AGAIN);
    };
  }

  setInterval(() => { if (Date.now() - heard > SILENCE) { source.onerror(); open(); } }, AGAIN);
  document.addEventListener("selectionchange", () => { if (Object.keys(waiting).length) show(); });
  open();
})();
"""
