"""The play as one page: no script, nothing fetched, readable on a phone, in light and dark.

Every page a visitor saw is in it as a frame of its own, sandboxed: an attacker's page is shown, never run.
"""

import re
from collections.abc import Mapping
from html import escape
from itertools import chain

from scripts.keynote.pages import is_attackers
from scripts.keynote.report_style import STYLE
from scripts.keynote.story import DIGEST, Act, Check, Outcome, Play, Ran, Said, Saw, Step, Who, short

_CLASSES = {
    Outcome.PUBLISHED: "published",
    Outcome.DEFACED: "defaced",
    Outcome.HELD: "held",
    Outcome.CLONED: "published",
    Outcome.UNEXPECTED: "unexpected",
}
_NUMBERED = re.compile(r"(Act [a-z]+): (.+)")


def report_html(play: Play) -> str:
    """Return the page."""
    acts = "".join(_act(act, play.names, number) for number, act in enumerate(play.acts))
    place = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in play.place.items()
    )
    images = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_told(digest, play.names)}</dd></div>"
        for digest, name in play.names.items()
    )
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The compromised update</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>The compromised update</h1>
<p>Docker's keynote on content trust of 2015, played again in {play.seconds:.0f} seconds. Every part is real: the
registry, the keys, the containers, the attacks.</p>
{_verdict(play)}
</header>
{_lanes(play)}
<main>{acts}</main>
<footer><dl>{place}{images}</dl></footer>
</body>
</html>
"""


def _verdict(play: Play) -> str:
    kind = "held" if play.as_promised else "unexpected"
    return f'<p class="verdict {kind}">{escape(play.moral)}</p>'


def _lanes(play: Play) -> str:
    """What visitors saw as the acts went by, one row for each machine."""
    heads = "".join(
        f'<th scope="col"><a href="#act-{number}">{escape(_titles(act)[1])}</a></th>'
        for number, act in enumerate(play.acts)
    )
    rows = "".join(
        f'<tr><th scope="row">{name}</th>{_cells(play, play.place[host])}</tr>'
        for name, host in (("without trust", Who.PLAIN_HOST.value), ("with trust", Who.HOST.value))
    )
    return f'<div class="lanes"><table><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(play: Play, url: str) -> str:
    """The last page of each act; where nobody looked, a line in the colour of what was there."""
    cells, kind = [], "unseen"
    for act in play.acts:
        seen = [step for step in act.steps if isinstance(step, Saw) and step.url == url]
        if seen:
            cells.append(f'<td><div class="mini">{_frame(seen[-1])}</div></td>')
            kind = "unseen lost" if is_attackers(seen[-1].body) else "unseen"
        else:
            cells.append(f'<td class="{kind}"></td>')
    return "".join(cells)


def _act(act: Act, names: Mapping[str, str], number: int) -> str:
    title, subtitle = _titles(act)
    kind = _CLASSES[act.outcome]
    steps = "".join(_step(step, names) for step in act.steps)
    return f"""
<section id="act-{number}" class="{kind}">
<h2><small>{escape(title)}</small>{escape(subtitle)}</h2>
<p class="premise">{escape(act.premise)}</p>
<ol>{steps}</ol>
<p class="verdict {kind}">{escape(act.outcome.value)}</p>
</section>"""


def _titles(act: Act) -> tuple[str, str]:
    match = _NUMBERED.fullmatch(act.title)
    return (match[1], match[2].capitalize()) if match else ("", act.title)


def _step(step: Step, names: Mapping[str, str]) -> str:
    match step:
        case Said():
            return f'<li class="said">{_who(step.who)}<div><p>{_told(step.text, names)}</p></div></li>'
        case Ran():
            code = f'<span class="code">exit {step.exit_code}</span>' if step.exit_code else ""
            output = f"\n{_told(step.output, names)}" if step.output else ""
            typed = f"<b>{_told(step.line, names)}</b>"
            return f'<li class="ran">{_who(step.who)}<div><pre>$ {typed}{output}</pre>{code}</div></li>'
        case Saw():
            return f'<li class="saw">{_who(step.who)}<div>{_browser(step)}</div></li>'
        case Check():
            kind = {"✓": "kept", "!": "harm", "✗": "broken"}[step.mark]
            return f'<li class="check {kind}"><span></span><div>{step.mark} {escape(step.promise)}</div></li>'


def _who(who: Who) -> str:
    return f'<span class="who {who.name.lower()}">{escape(who.value)}</span>'


def _browser(saw: Saw) -> str:
    status = str(saw.status) if saw.status else "no answer"
    return (
        f"<figure><figcaption><span>{escape(saw.url)}</span><span>{status}</span></figcaption>"
        f"{_frame(saw)}</figure>"
    )


def _frame(saw: Saw) -> str:
    body = saw.body if "<" in saw.body else f"<pre>{escape(saw.body) or 'nothing'}</pre>"
    title = " · ".join(saw.excerpt) or saw.body
    kind = "page" if body is saw.body else "text"
    return (
        f'<iframe class="{kind}" sandbox title="{escape(title)}" srcdoc="{escape(body)}" tabindex="-1"></iframe>'
    )


def _told(text: str, names: Mapping[str, str]) -> str:
    """``text`` with each digest cut short, whole on hovering, and marked as whose it is."""
    plain = DIGEST.split(text)
    marked = [
        f'<abbr class="{escape(names.get(digest, "other"))}" title="{digest}">{short(digest)}</abbr>'
        for digest in DIGEST.findall(text)
    ]
    pairs = zip(map(escape, plain), [*marked, ""], strict=True)
    return "".join(chain.from_iterable(pairs))
