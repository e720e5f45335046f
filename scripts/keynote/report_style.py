"""The style sheet of the report."""

STYLE = """
:root {
  --paper: #fbfaf7; --card: #fff; --ink: #22242a; --quiet: #6d7078; --line: #e4e1d9; --shell: #f4f2ec;
  --good: #1d7a4c; --bad: #c3281c; --news: #2b6a99;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171b; --card: #1c1f25; --ink: #e6e4de; --quiet: #979ba4; --line: #30343c; --shell: #121418;
    --good: #5cc592; --bad: #ff7b6e; --news: #7fb8e3;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 58rem; padding: 3rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink);
  font: 1rem/1.55 var(--sans); }
h1, h2 { font-family: var(--serif); font-weight: 500; line-height: 1.15; letter-spacing: -.01em; margin: 0; }
h1 { font-size: clamp(2rem, 6vw, 3.1rem); }
header p { color: var(--quiet); max-width: 38rem; margin: .8rem 0 1.2rem; font-size: 1.05rem; }
.verdict { display: inline-block; margin: 0; padding: .3rem .75rem; border-radius: 99px; font-weight: 600;
  font-size: .85rem; color: var(--tone); border: 1.5px solid var(--tone); }
header .verdict { font-size: .95rem; color: var(--tone); }
.held { --tone: var(--good); } .defaced, .unexpected { --tone: var(--bad); } .published { --tone: var(--news); }

.lanes { overflow-x: auto; margin: 2.2rem -1.25rem 3rem; padding: 0 1.25rem; }
.lanes table { border-collapse: separate; border-spacing: .55rem .7rem; margin: 0 -.55rem; min-width: 100%; }
.lanes th { font-size: .78rem; font-weight: 500; color: var(--quiet); text-align: left; }
.lanes th[scope=row] { padding-right: .4rem; width: 4.2rem; min-width: 4.2rem; color: var(--ink); }
.lanes a { color: inherit; text-decoration: none; }
.lanes a:hover { color: var(--ink); text-decoration: underline; }
.lanes td { padding: 0; }
.unseen { --rule: var(--tone, var(--line));
  background: linear-gradient(var(--rule), var(--rule)) center / 100% 1px no-repeat; }
.lost { --tone: var(--bad); }
.mini { width: 7.6rem; height: 4.75rem; overflow: hidden; border-radius: .45rem;
  border: 1px solid var(--line); }
.mini iframe { width: 19rem; height: 11.875rem; transform: scale(.4); transform-origin: 0 0;
  pointer-events: none; }

iframe { display: block; border: 0; background: #fff; color-scheme: light; }
main { border-left: 2px solid var(--line); margin-left: .4rem; }
section { position: relative; padding: 0 0 3rem 1.9rem; scroll-margin-top: 1rem; }
section::before { content: ""; position: absolute; left: -.5rem; top: .35rem; width: .85rem; height: .85rem;
  border-radius: 50%; background: var(--tone); box-shadow: 0 0 0 .3rem var(--paper); }
section:last-child { padding-bottom: 0; }
h2 { font-size: 1.65rem; }
h2 small { display: block; font: 500 .82rem/1.4 var(--sans); letter-spacing: 0; color: var(--quiet); }
.premise { margin: .35rem 0 1.1rem; color: var(--quiet); font-size: 1.05rem; }
section > .verdict { margin-left: 6.6rem; font-size: .9rem; }
ol { list-style: none; margin: 0 0 1rem; padding: 0; }
li { display: grid; grid-template-columns: 5.6rem minmax(0, 1fr); gap: 0 1rem; margin: 0 0 .7rem; }
.who { font-size: .82rem; color: var(--quiet); padding-top: .12rem; }
.who.attacker { color: var(--bad); }
li p { margin: 0; }
pre { margin: 0; font: .82rem/1.6 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; }
.ran pre { padding: .65rem .85rem; border-radius: .5rem; background: var(--shell);
  border: 1px solid var(--line);
  color: var(--quiet); }
.ran b { color: var(--ink); font-weight: 600; }
.code { display: inline-block; margin-top: .3rem; font: .78rem var(--mono); color: var(--quiet); }
abbr { text-decoration: none; color: var(--news); font-family: var(--mono); font-size: .94em;
  white-space: nowrap; }
abbr.attacker { color: var(--bad); } abbr.other { color: inherit; }
figure { margin: 0; max-width: 25rem; border: 1px solid var(--line); border-radius: .6rem; overflow: hidden;
  background: var(--card); box-shadow: 0 1px 8px #0000000d; }
figcaption { display: flex; justify-content: space-between; gap: 1rem; padding: .35rem .8rem;
  font: .75rem var(--mono);
  color: var(--quiet); border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
figure iframe { width: 100%; height: 9.5rem; }
figure iframe.text { height: 3.6rem; }
.check { margin-top: -.35rem; font-size: .93rem; }
.check.kept { color: var(--good); } .check.harm { color: var(--bad); }
.check.broken { color: var(--bad); font-weight: 600; }
footer { margin-top: 3.5rem; padding-top: 1.2rem; border-top: 1px solid var(--line); font-size: .82rem;
  color: var(--quiet); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .35rem 1.5rem;
  margin: 0; }
dl div { display: flex; gap: .6rem; } dt { min-width: 5rem; } dd { margin: 0; overflow-wrap: anywhere;
  color: var(--ink); }
@media (max-width: 40rem) {
  body { padding-top: 1.8rem; }
  li { grid-template-columns: minmax(0, 1fr); }
  section { padding-left: 1.25rem; }
  section > .verdict { margin-left: 0; }
  .check { margin-top: -.4rem; }
}
"""
