"""The page as text, whatever names hold, and as a real browser shows it: live, on a phone, without script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry_shim import page as page_module
from registry_shim.operations import Operations
from registry_shim.page import Board, document, parts_of
from registry_shim.words import SENTENCES, condition, level, sentence, short_digest, time_ago, time_left
from scripts.browser import Tab, tab
from tests.shim.conftest import Keeper
from tests.shim.samples import DAY, HOUR, NOW, collection, decided, role
from trust.verdict import Reason

_DIGEST = "sha256:" + "7794b48e" * 8
_HOSTILE = (
    "</td><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "'\"><svg onload=document.title='owned'>&lt;b&gt;</script></style><!--"
)


def _board(**changes: Any) -> Board:
    plain: dict[str, Any] = {
        "now": NOW,
        "is_ready": True,
        "why": "",
        "collections": [collection()],
        "decisions": [(1, decided())],
        "counts": {"denied": 1},
        "version": "1.2",
    }
    return Board(**(plain | changes))


class _Reader(HTMLParser):
    """Collects the text and the elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def test_every_reason_has_a_sentence_of_its_own() -> None:
    assert SENTENCES.keys() == {reason.value for reason in Reason}
    assert len(set(SENTENCES.values())) == len(SENTENCES)
    assert (sentence(""), sentence("later-invented")) == ("", "later-invented.")


def test_a_collection_says_how_it_is_and_who_signs_it() -> None:
    text = _Reader(document(_board(), nonce="n")).text
    for said in ("registry.example.com/acme/", "Fresh", "enforced", "12 seconds ago", "20 hours left", "412"):
        assert said in text
    for said in ("targets", "version 3", "5c9f0000", "77aa1111", "2 needed", "7 days left"):
        assert said in text
    html = document(_board(), nonce="n")
    assert 'title="77aa' + "1" * 60 + '"' in html
    assert 'title="sha256:' + "ab" * 32 + '"' in html
    assert "Audit" not in text


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "Fresh"),
        ({"freshness": "stale"}, "Stale"),
        ({"freshness": "refused", "reason": "rolled-back"}, "Refused"),
        ({"freshness": "unread", "valid_until": 0.0, "checked_at": 0.0, "roles": []}, "Not read yet"),
        ({"valid_until": NOW - 1}, "Expired"),
        ({"freshness": "stale", "valid_until": NOW}, "Expired"),
    ],
)
def test_the_state_is_told_in_words(changes: dict[str, Any], word: str) -> None:
    shown = collection(**changes)
    assert condition(shown, NOW)[1] == word
    text = _Reader(parts_of(_board(collections=[shown]))["collections"]).text
    assert word in text
    if shown.reason:
        assert SENTENCES[shown.reason] in text


def test_audit_is_loud() -> None:
    board = _board(collections=[collection(mode="audit"), collection(name="b/")])
    parts = {name: _Reader(html).text for name, html in parts_of(board).items()}
    assert "Serving, but only watching" in parts["now"]
    assert "Audit mode. Of registry.example.com/acme/ everything is served" in parts["now"]
    assert "audit: denied images are served" in parts["collections"]


def test_what_is_not_ready_says_why() -> None:
    assert "Not ready: its policy cannot be read" in document(
        _board(is_ready=False, why="its policy cannot be read"), nonce="n"
    )


def test_time_left_is_humane_and_urgent_by_share() -> None:
    assert [time_left(left) for left in (3 * DAY, HOUR, 61, -2 * HOUR, 0)] == [
        *("3 days left", "1 hour left", "1 minute left"),
        *("past for 2 hours", "past for 0 seconds"),
    ]
    assert [level(left, 100) for left in (100, 25, 24, 10, 9, 0, -1)] == [
        *("good", "good", "low", "low", "last", "past", "past"),
    ]
    assert level(5, 0) == "unknown"
    assert (time_ago(5), time_ago(-60)) == ("5 seconds ago", "1 minute ahead of this clock")
    text = _Reader(parts_of(_board(collections=[collection(roles=[role("a", left=DAY / 2)])]))["collections"]).text
    assert "12 hours left, renew now" in text


def test_what_only_looks_like_a_digest_hides_nothing() -> None:
    assert short_digest(_DIGEST) == "sha256:7794b48e7794…"
    for text in ("", "x:" + "y" * 99, _DIGEST + "0", _DIGEST.upper()):
        assert short_digest(text) == text


def _filled(text: str, *, is_ready: bool) -> _Reader:
    """A page that holds ``text`` wherever a word from outside may stand."""
    words = {"name": text, "detail": text, "pin": text, "reason": text, "freshness": "refused"}
    asked = dict.fromkeys(("client", "method", "kind", "image", "detail", "digest", "reason"), text)
    board = _board(
        collections=[collection(**words, mode="audit", roles=[role(text, signers=[text])])],
        decisions=[(1, decided(**asked)), (2, decided(image=f"{text}@{text}"))],
        why=text,
        is_ready=is_ready,
        version=text,
    )
    return _Reader(document(board, nonce="n"))


@pytest.mark.parametrize("is_ready", [True, False])
@given(text=st.text(st.sampled_from("<>&'\"/=ab !-"), min_size=1))
@example(text=_HOSTILE)
@example(text="<b>")
@example(text='"id=x')
def test_no_word_from_outside_becomes_an_element(*, is_ready: bool, text: str) -> None:
    plain, filled = _filled("x", is_ready=is_ready), _filled(text, is_ready=is_ready)
    assert [(tag, each.keys()) for tag, each in filled.elements] == [
        (t, each.keys()) for t, each in plain.elements
    ]
    assert filled.text.count(text) >= 11


def test_a_moment_that_no_calendar_has_is_shown_somehow() -> None:
    for at in (float("inf"), -1e30, 1e300):
        parts_of(_board(decisions=[(1, decided(at=at))]))


# In a real browser


@pytest.fixture
def browser() -> Iterator[Tab]:
    with tab() as page:
        yield page


def _tell(operations: Operations, **changes: Any) -> None:
    operations.decided(decided(**changes))


def _furnish(keeper: Keeper) -> None:
    keeper.tell(lambda operations: operations.ready(is_ready=True))
    name = "registry.example.com/a-very-long-name-of-a-department-that-nobody-shortened/team/"
    shown = [
        collection(),
        collection(name=name, mode="audit", freshness="stale", detail="no answer: " + "x" * 120),
    ]
    keeper.tell(lambda operations: operations.collections(shown))
    keeper.tell(partial(_tell, image="registry.example.com/acme/web@" + _DIGEST, outcome="allowed", reason=""))
    keeper.tell(partial(_tell, client="2001:db8:85a3:8d3:1319:8a2e:370:7348", image="x" * 250, detail="y" * 300))


def _is_live(page: Tab) -> None:
    page.wait_for("document.getElementById('link').textContent === 'live'")


def test_a_decision_appears_while_one_looks(keeper: Keeper, browser: Tab) -> None:
    _furnish(keeper)
    browser.open(keeper.url)
    _is_live(browser)
    assert "acme/api:2" not in browser.value("document.body.textContent")
    keeper.tell(partial(_tell, image="registry.example.com/acme/api:2", reason="revoked"))
    browser.wait_for("document.querySelector('.decisions tbody tr .name').textContent.endsWith('acme/api:2')")
    row = browser.value("document.querySelector('.decisions tbody tr').innerText")
    assert "The publisher has taken it back." in row
    assert browser.value("document.querySelector('.decisions tbody tr').classList.contains('new')")
    assert "acme/api:2" in browser.value("document.getElementById('said').textContent")
    keeper.tell(lambda operations: operations.ready(is_ready=False, why="the disk is full"))
    browser.wait_for("document.querySelector('h1').textContent === 'Not ready: the disk is full'")
    assert browser.complaints() == []


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("width", [320, 360, 740, 1200])
def test_it_fits_every_screen(keeper: Keeper, browser: Tab, width: int, *, script: bool) -> None:
    _furnish(keeper)
    browser.open(keeper.url, width=width, height=800, script=script)
    if script:
        _is_live(browser)
    wide = browser.value("document.documentElement.scrollWidth")
    assert wide <= width
    beyond = "[...document.querySelectorAll('body *:not(.unseen, thead, thead *)')].filter(each => {"
    beyond += f"const box = each.getBoundingClientRect(); return box.right > {width} + 0.5 || box.left < -0.5;"
    assert browser.value(beyond + "}).map(each => each.tagName + '.' + each.className)") == []
    assert browser.value("document.querySelectorAll('.decisions tbody tr').length") == 2


def test_without_script_it_renews_itself(keeper: Keeper, browser: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in keeper.text("/")
    monkeypatch.setattr(page_module, "RENEWED_SECONDS", 1)
    _furnish(keeper)
    browser.open(keeper.url, script=False)
    browser.wait_for("document.body.innerText.includes('registry.example.com/acme/web@')")
    browser.wait_for("document.getElementById('link').textContent.startsWith('shown as of ')")
    keeper.tell(partial(_tell, image="a/later:1"))
    browser.wait_for("document.body.textContent.includes('a/later:1')")


def test_a_hostile_name_runs_nothing(keeper: Keeper, browser: Tab) -> None:
    _furnish(keeper)
    hostile: dict[str, Any] = {
        "image": _HOSTILE,
        "detail": _HOSTILE,
        "client": _HOSTILE,
        "method": _HOSTILE,
        "digest": _HOSTILE,
    }
    keeper.tell(partial(_tell, **hostile))
    browser.open(keeper.url)
    _is_live(browser)
    keeper.tell(partial(_tell, **hostile))
    browser.wait_for("document.querySelectorAll('.decisions tbody tr').length === 4")
    assert browser.value("document.querySelector('.decisions tbody .name').textContent") == _HOSTILE
    assert browser.value("document.title") == "Registry shim"
    assert browser.value("document.querySelectorAll('img, main script').length") == 0
    assert browser.complaints() == []


def test_the_policy_of_the_page_lets_no_other_script_run(keeper: Keeper, browser: Tab) -> None:
    policies = [keeper.ask("/").headers["Content-Security-Policy"] for _ in range(2)]
    nonces = [re.findall(r"'nonce-([\w-]{22})'", policy) for policy in policies]
    assert len({nonce for found in nonces for nonce in found}) == 2
    browser.open(keeper.url)
    _is_live(browser)
    browser.value(
        "document.getElementById('now').innerHTML = `<img src=\"data:,\" onerror=\"document.title='x'\">`"
    )
    browser.value(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))"
    )
    browser.value("new Promise(done => setTimeout(done, 100))")
    assert browser.value("document.title") == "Registry shim"
    assert any("Content Security Policy" in said for said in browser.complaints())


def test_what_is_chosen_to_be_copied_stays(keeper: Keeper, browser: Tab) -> None:
    _furnish(keeper)
    browser.open(keeper.url)
    _is_live(browser)
    browser.value("getSelection().selectAllChildren(document.querySelector('.decisions tbody .name'))")
    keeper.tell(partial(_tell, image="a/later:1"))
    browser.wait_for("document.querySelector('.counts .denied dd').textContent === '2'")
    assert browser.value("String(getSelection())") == "x" * 250
    browser.value("getSelection().removeAllRanges()")
    browser.wait_for("document.querySelector('.decisions tbody .name').textContent === 'a/later:1'")


def test_a_lost_connection_is_said_and_found_again(keeper: Keeper, browser: Tab) -> None:
    _furnish(keeper)
    browser.open(keeper.url)
    _is_live(browser)
    port = keeper.port
    keeper.pause()
    browser.wait_for("document.getElementById('link').className === 'lost'")
    assert browser.value("document.getElementById('link').textContent").startswith("no connection: shown as of ")
    keeper.resume(port)
    keeper.tell(partial(_tell, image="a/again:1"))
    _is_live(browser)
    browser.wait_for("document.body.textContent.includes('a/again:1')")


def test_it_is_readable_by_those_who_do_not_see_it(keeper: Keeper, browser: Tab) -> None:
    _furnish(keeper)
    browser.open(keeper.url, width=360)
    _is_live(browser)
    nodes = browser.do("Accessibility.getFullAXTree")["nodes"]
    found = [
        (each["role"]["value"], each.get("name", {}).get("value", "")) for each in nodes if not each.get("ignored")
    ]
    roles = [kind for kind, _ in found]
    assert ("table", "The latest 2, newest first") in found
    assert ("table", "Roles of registry.example.com/acme/") in found
    assert roles.count("columnheader") == 5 + 4 * 2
    assert {name for kind, name in found if kind == "heading"} == {
        *("Serving, but only watching", "Collections", "registry.example.com/acme/", "Decisions"),
        "registry.example.com/a-very-long-name-of-a-department-that-nobody-shortened/team/",
    }
    assert {"banner", "main", "status", "contentinfo"} <= set(roles)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_has_contrast(keeper: Keeper, browser: Tab, *, dark: bool) -> None:
    """WCAG 2.2 AA asks for 4.5 to 1; every element that holds text is measured against what lies behind it."""
    _furnish(keeper)
    browser.open(keeper.url, dark=dark)
    _is_live(browser)
    measured = browser.value(_CONTRAST)
    assert len(measured) > 40
    assert [each for each in measured if each[0] < 4.5] == []


_CONTRAST = """(() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = each => {
    for (; each; each = each.parentElement) {
      const colour = numbers(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .filter(each => !each.closest("script, .unseen"))
    .map(each => {
      const [a, b] = [light(numbers(getComputedStyle(each).color)), light(behind(each))];
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), each.className || each.tagName];
    });
})()"""
