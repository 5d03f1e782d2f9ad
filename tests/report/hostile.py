"""Texts that a model, a judge or a file of others may hold, to take over a page."""

from __future__ import annotations

BAIT = "https://example.invalid"
"""Where a page that runs one of them would send a request."""

HOSTILE = (
    "<script>document.title='taken'</script>",
    "</script><script>document.title='taken'</script>",
    "<!--<script>document.title='taken'</script>-->",
    "<img src=x onerror=\"document.title='taken'\">",
    f"<img src={BAIT}/pixel.png>",
    "<svg/onload=document.title='taken'>",
    "<svg><script>document.title='taken'</script></svg>",
    f"<iframe src={BAIT}></iframe>",
    "<iframe srcdoc=\"<script>parent.document.title='taken'</script>\"></iframe>",
    "<a href='javascript:document.title=1'>x</a>",
    "[x](javascript:document.title=1)",
    f"<link rel=stylesheet href={BAIT}/x.css>",
    f"<style>@import url({BAIT}/x.css); body {{ display: none }}</style>",
    f"<base href={BAIT}/>",
    f"<meta http-equiv=refresh content='0;url={BAIT}'>",
    f"<form action={BAIT}><input name=q autofocus onfocus=alert(1)></form>",
    "<details open ontoggle=alert(1)>x</details>",
    "\"'`);alert(1);//",
    '"});alert(1);spy.receive("index", {"a": "',
    "${alert(1)} {{ 7 * 7 }} {% raw %} $\\frac{1}{2}$",
    "line\u2028separator\u2029and\\u003cescape\\",
    "</pre></style></textarea></title><b onclick=alert(1)>x</b>",
    "__proto__ constructor \u202eright to left\u202c \N{PILE OF POO} <\t\n>",
)
