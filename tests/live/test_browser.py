"""The page in a browser: what it draws, its sliders, and what it may not do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from edgecv.live.server import Limits

from . import chromium
from .visitor import Shown

pytestmark = pytest.mark.skipif(chromium.path() is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium.tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_is_complained_of(tab: Any) -> Iterator[None]:
    """No exception, no file that is missing, nothing that the page's own policy forbids."""
    tab.problems.clear()
    tab.expected = ["ERR_"]  # of a page that was closed
    yield
    tab.open("about:blank")
    tab.wait_for("location.href === 'about:blank'")  # what is told late is told by then
    unexpected = [each for each in tab.problems if not any(sign in each for sign in tab.expected)]
    assert unexpected == []


def seen(tab: Any, script: str) -> Any:
    return json.loads(tab.evaluate(f"JSON.stringify({script})"))


def test_each_camera_is_drawn_with_what_was_found(tab: Any, show: Shown) -> None:
    with show(num_cameras=2) as stream:
        tab.open(stream.page.url)
        tab.wait_for("cameras.size === 2")
        stream.give(0)
        stream.give(1)
        tab.wait_for("[...cameras.values()].every((camera) => camera.shown !== null)")
        names = "[...document.querySelectorAll('.camera h2')].map((each) => each.textContent)"
        assert seen(tab, names) == ["door", "yard"]
        tab.wait_for("document.querySelector('.found').textContent === '1 dog'")
        assert tab.evaluate("document.title") == "pets.onnx – edgecv"
        tab.wait_for("$('stages').rows.length === 5")
        tab.wait_for("document.querySelector('.why').textContent.includes('2 damaged packets')")
        # The box has its class's colour at its upper edge, and the picture is grey beside it.
        edge, beside = seen(tab, _PIXELS)
        assert edge[0] > edge[1] + 40 > edge[2] + 80  # class 1 is orange; the line is smoothed
        assert max(beside) < 20


# Of the picture: where the box has its lower edge, and beside it.
_PIXELS = """(() => {
  const canvas = cameras.get("door").canvas;
  const at = (x, y) => [...canvas.getContext("2d").getImageData(
    Math.round(x * canvas.width / 64), Math.round(y * canvas.height / 48), 1, 1).data].slice(0, 3);
  return [at(20, 40), at(50, 30)];
})()"""


def test_a_slider_acts_on_the_stream(tab: Any, show: Shown) -> None:
    with show() as stream:
        tab.open(stream.page.url)
        tab.wait_for("!$('thresholds').hidden && $('score').value === '0.25'")
        tab.evaluate("$('score').value = 0.8; $('score').dispatchEvent(new Event('input'))")
        stream.until(lambda: stream.pipeline.settings.effective["score"] == 0.8)
        tab.evaluate("$('score').dispatchEvent(new Event('change'))")
        stream.give()
        tab.wait_for("document.querySelector('.found').textContent === 'Nothing found'")
        assert tab.evaluate("$('score-value').textContent") == "0.80"
        stream.pipeline.settings.adjust(score=0.4)  # from elsewhere
        tab.wait_for("$('score-value').textContent === '0.40'")


def test_a_fixed_threshold_is_disabled_with_the_reason(tab: Any, show: Shown, finder: Any) -> None:
    with show(model=finder(has_fixed_score=True)) as stream:
        tab.open(stream.page.url)
        tab.wait_for("$('score').disabled && !$('iou').disabled")
        assert "fixed inside this graph" in tab.evaluate("$('score-note').textContent")
        assert tab.evaluate("$('score-value').textContent") == "fixed"


def test_one_camera_can_be_looked_at_alone(tab: Any, show: Shown) -> None:
    with show(num_cameras=2) as stream:
        tab.open(stream.page.url)
        tab.wait_for("cameras.size === 2")
        tab.evaluate("cameras.get('yard').view.click()")
        stream.until(lambda: [w.sources for w in stream.page._hub.watchers] == [{"yard"}])
        visible = "[...cameras.values()].map((camera) => camera.element.offsetHeight > 0)"
        assert seen(tab, visible) == [False, True]
        assert tab.evaluate("cameras.get('yard').view.getAttribute('aria-pressed')") == "true"
        tab.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))")
        stream.until(lambda: [w.sources for w in stream.page._hub.watchers] == [None])
        assert seen(tab, visible) == [True, True]


def test_the_token_is_asked_for_and_leaves_the_address_bar(tab: Any, show: Shown) -> None:
    token = "a-token-that-is-long"  # noqa: S105
    tab.expected.append("status of 401")
    with show(token=token) as stream:
        tab.open(stream.page.url.partition("?")[0])
        tab.wait_for("document.querySelector('#token') !== null")
        tab.evaluate(f"$ = document.querySelector('#token'); $.value = '{token}'")
        tab.evaluate("setTimeout(() => $.form.submit())")  # the answer comes before the page goes
        tab.wait_for("cameras.size === 1")
        assert tab.evaluate("location.href") == stream.page.url.partition("?")[0]


def test_names_from_a_camera_are_text(tab: Any, show: Shown) -> None:
    with show() as stream:
        stream.notices.say("door", "stall", "<img src=x onerror=alert(1)>")
        tab.open(stream.page.url)
        tab.wait_for("$('notices').textContent.includes('<img src=x')")
        assert tab.evaluate("$('notices').querySelector('img')") is None


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [1360, 390])
def test_it_is_legible_at_every_width(tab: Any, show: Shown, width: int, is_dark: bool) -> None:  # noqa: FBT001
    """Nothing sticks out to the side, and text has the contrast of WCAG 2.1 AA, 4.5 to 1."""
    with show(num_cameras=3) as stream:
        tab.open(stream.page.url, width=width, dark=is_dark)
        tab.wait_for("cameras.size === 3 && $('stages') !== null")
        stream.give()
        tab.wait_for("$('stages').rows.length === 5")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        poor = seen(tab, _POOR_CONTRAST)
        assert poor == []


# By the page's own colours: each text against the nearest background behind it.
_POOR_CONTRAST = """(() => {
  const rgb = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let each = element; each !== null; each = each.parentElement) {
      const colour = rgb(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.offsetParent === null || element.tagName === "NOSCRIPT") continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) poor.push(`${element.tagName} ${element.textContent} ${contrast}`);
  }
  return poor;
})()"""


def test_everything_can_be_reached_by_keyboard(tab: Any, show: Shown) -> None:
    with show() as stream:
        tab.open(stream.page.url)
        tab.wait_for("!$('thresholds').hidden && cameras.size === 1")
        reached = []
        for _ in range(8):
            for kind in ("keyDown", "keyUp"):
                tab.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key="Tab",
                    code="Tab",
                    windowsVirtualKeyCode=9,
                )
            reached.append(
                tab.evaluate("document.activeElement.id || document.activeElement.className")
            )
        wanted = ["skip", "view", "show-shapes", "show-labels", "show-trails", "score", "iou"]
        assert reached[:7] == wanted


def test_a_full_page_tells_so(tab: Any, show: Shown) -> None:
    tab.expected.append("status of 503")
    with show(limits=Limits(num_clients=0)) as stream:
        tab.open(stream.page.url)
        tab.wait_for("$('link').textContent.startsWith('Too many viewers')")
