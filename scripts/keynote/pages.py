"""What the images serve: the publisher's four menus, and what the attacker puts in their place."""

CADDYFILE = """\
{
	admin off
	auto_https off
	persist_config off
}
http://:{$PORT} {
	bind 127.0.0.1
	root * /srv
	file_server
}
"""

# The back door gives away a secret of the machine that runs it, to whoever knows where to ask.
BACK_DOOR = "/back-door"
_GIVEN_AWAY = "TILL_KEY="
BACK_DOORED_CADDYFILE = CADDYFILE.replace(
    "\troot", f'\trespond {BACK_DOOR} "{_GIVEN_AWAY}{{$TILL_KEY}}"\n\troot'
)  # fmt: skip

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{heading}</title>
<style>
  html {{ height: 100%; }}
  body {{ margin: 0; min-height: 100%; display: grid; place-content: center; justify-items: center; gap: .5rem;
         padding: 1rem; box-sizing: border-box; text-align: center; background: {paper}; color: {ink};
         font: 1rem/1.4 Georgia, "Times New Roman", serif; }}
  h1 {{ margin: 0; font-weight: 400; font-size: 1.6rem; letter-spacing: .01em; }}
  p {{ margin: 0; opacity: .8; }}
</style>
<h1>{heading}</h1>
<p>{line}</p>
"""


def _page(heading: str, line: str, *, paper: str, ink: str) -> str:
    return _PAGE.format(heading=heading, line=line, paper=paper, ink=ink)


SPRING = _page("Acme Tea, spring menu", "Darjeeling first flush, 3.20", paper="#eef4e6", ink="#2f4a24")
SUMMER = _page("Acme Tea, summer menu", "Cold sencha with lemon, 3.60", paper="#fdf3d7", ink="#6b4a06")
AUTUMN = _page("Acme Tea, autumn menu", "Smoked oolong, 3.90", paper="#f7e3d4", ink="#6b2f12")
WINTER = _page("Acme Tea, winter menu", "Black tea with orange, 3.40", paper="#e3ebf2", ink="#1f3a52")
DEFACED = _page("This shop is mine now", "Thank you for the card numbers.", paper="#0b0b0d", ink="#ff3b30")


def is_attackers(body: str) -> bool:
    """Whether an answer is of the attacker's making."""
    return body == DEFACED or body.startswith(_GIVEN_AWAY)
