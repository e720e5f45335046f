"""The style sheet of the page; the house's look is that of the demo's report."""

STYLE = """
:root {
  --paper: #fbfaf7; --card: #fff; --ink: #22242a; --quiet: #63666f; --line: #e4e1d9; --soft: #f4f2ec;
  --good: #1d7a4c; --bad: #b8261b; --warn: #8f5a00; --loud: #fdf0d9;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171b; --card: #1c1f25; --ink: #e6e4de; --quiet: #9da1aa; --line: #30343c; --soft: #23272e;
    --good: #5cc592; --bad: #ff8a7e; --warn: #e8b45a; --loud: #35290f;
  }
}
.allowed, .good { --tone: var(--good); } .denied, .past { --tone: var(--bad); }
.undecided, .audited, .low, .last { --tone: var(--warn); } .unknown { --tone: var(--quiet); }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 68rem; padding: 2.2rem 1.5rem 3rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 var(--sans); overflow-wrap: anywhere; }
h1, h2, h3, p, dl, dd { margin: 0; }
h1, h2 { font-family: var(--serif); font-weight: 500; line-height: 1.15; letter-spacing: -.01em; }
h1 { font-size: clamp(1.7rem, 5.5vw, 2.7rem); text-wrap: balance; }
h1:not(.allowed) { color: var(--tone); }
h2 { font-size: 1.55rem; margin: 2.8rem 0 1rem; }
h3 { font: 600 1rem/1.4 var(--mono); }
abbr { text-decoration: none; font-family: var(--mono); font-size: .92em; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.none { color: var(--quiet); }

header { display: grid; grid-template-columns: 1fr auto; gap: .5rem 1.5rem; align-items: baseline; }
header #now { grid-column: 1 / -1; }
.house { font-size: .85rem; color: var(--quiet); letter-spacing: .02em; }
#link { font-size: .82rem; color: var(--quiet); text-align: right; }
#link::before { content: ""; display: inline-block; width: .55rem; height: .55rem; margin-right: .45rem;
  border-radius: 50%; background: var(--line); }
#link.live::before { background: var(--good); }
#link.lost { color: var(--bad); font-weight: 600; } #link.lost::before { background: var(--bad); }
.audit { margin-top: 1.1rem; padding: .85rem 1.1rem; border-radius: .6rem; border: 1.5px solid var(--warn);
  background: var(--loud); }
.audit strong { color: var(--warn); } .audit b { font: 600 .92em var(--mono); }
.counts { display: flex; flex-wrap: wrap; gap: .4rem 2.4rem; margin-top: 1.3rem; }
.counts dt { font-size: .82rem; color: var(--quiet); }
.counts dd { font: 500 1.5rem/1.2 var(--serif); color: var(--tone);
  font-variant-numeric: lining-nums tabular-nums; }

article { padding: 1.15rem 1.35rem 1.25rem; border: 1px solid var(--line); border-left: 4px solid var(--tone);
  border-radius: .6rem; background: var(--card); box-shadow: 0 1px 8px #0000000d; }
article + article { margin-top: 1rem; }
.title { display: flex; flex-wrap: wrap; gap: .3rem .9rem; align-items: center; }
.title h3 { margin-right: auto; min-width: 0; }
.state, .mode { padding: .12rem .7rem; border-radius: 99px; font-size: .82rem; white-space: nowrap; }
.state { color: var(--tone); border: 1.5px solid var(--tone); font-weight: 600; }
.mode { color: var(--quiet); border: 1.5px solid var(--line); }
.mode.watching { color: var(--warn); border-color: var(--warn); background: var(--loud); font-weight: 600;
  white-space: normal; }
.meaning { margin-top: .35rem; color: var(--quiet); max-width: 46rem; }
.detail { display: block; font: .8rem/1.5 var(--mono); color: var(--quiet); }
article > dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: .7rem 1.5rem;
  margin: 1rem 0; }
article dt { font-size: .78rem; color: var(--quiet); }

table { width: 100%; border-collapse: collapse; }
caption { text-align: left; font-size: .82rem; color: var(--quiet); padding-bottom: .35rem; }
th, td { text-align: left; vertical-align: top; padding: .42rem .9rem .42rem 0; border-top: 1px solid var(--line);
  font-weight: 400; }
th[scope=col] { border: 0; padding-top: 0; font-size: .78rem; color: var(--quiet); }
th:last-child, td:last-child { padding-right: 0; }
.roles { font-size: .92rem; } .roles th:nth-child(3), .roles th:nth-child(4) { width: 32%; }
.roles th[scope=row] { font: 600 .86rem/1.6 var(--mono); }
.roles .label { display: none; }
.keys abbr { padding: .05rem .4rem; border-radius: .3rem; background: var(--soft); }
.threshold { font-size: .82rem; color: var(--quiet); white-space: nowrap; }
.roles { table-layout: fixed; } .expires { width: 32%; }
.left { display: block; color: var(--tone); max-width: 17rem; }
.left.good time, .left.unknown time { color: var(--ink); }
.left.last, .left.past { font-weight: 600; }
.bar { display: block; width: 100%; height: .28rem; margin-top: .22rem; border-radius: 99px; }
.bar .all { fill: var(--line); } .bar .share { fill: var(--tone); }

.decisions { font-size: .92rem; }
.decisions td { padding-top: .55rem; padding-bottom: .55rem; }
.at, .client { font: .84rem/1.65 var(--mono); color: var(--quiet); white-space: nowrap; }
.client { white-space: normal; width: 9rem; min-width: 8.8rem; }
.outcome { color: var(--tone); font-weight: 600; white-space: nowrap; }
.image { width: 40%; } .image .name { display: block; font: .86rem/1.6 var(--mono); }
.image .kind { display: block; font-size: .78rem; color: var(--quiet); }
@media (prefers-reduced-motion: no-preference) {
  tr.new { animation: new 2.5s ease-out; }
  @keyframes new { from { background: color-mix(in srgb, var(--tone) 16%, transparent); } }
}
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .82rem;
  color: var(--quiet); }
a { color: inherit; }

@media (max-width: 46rem) {
  body { padding: 1.4rem 1rem 2.5rem; }
  article { padding: 1rem; }
  article > dl { grid-template-columns: 1fr 1fr; gap: .7rem 1rem; }
  table, tbody, caption { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { display: grid; border-top: 1px solid var(--line); padding: .6rem 0; gap: .1rem .8rem; }
  tr > * { border: 0; padding: 0; min-width: 0; }
  .roles tr { grid-template-columns: 1fr auto; }
  .roles .label { display: inline; } .version { color: var(--quiet); }
  .keys, .expires { grid-column: 1 / -1; width: auto; } .left { max-width: none; }
  .decisions tr { grid-template-columns: 1fr auto auto; }
  .decisions td { padding: 0; }
  .outcome { order: 1; } .client { order: 2; width: auto; min-width: 0; text-align: right; } .at { order: 3; }
  .image { order: 4; } .why { order: 5; } .image, .why { grid-column: 1 / -1; width: auto; }
}
"""
