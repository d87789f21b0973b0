"""The HTML page of a result: valid, self-contained, and with all joints."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from poses import random_pose
from unclasp.hands import HAND_JOINT_NAMES, SIDES
from unclasp.view3d import page


class Reader(HTMLParser):
    """Collects attributes and texts of a page, and checks that its elements are nested correctly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        tag = self.open[-1] if self.open else ""
        self.texts[tag] = self.texts.get(tag, "") + data


def data_of(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert found
    return json.loads(found[1])


def test_all_joints_are_on_the_page_with_their_names() -> None:
    pose = random_pose()
    text = page(pose.to_dict())
    right, left = data_of(text)["hands"]
    for hand, side, joints in ((right, "right", pose.joints_cam[:21]), (left, "left", pose.joints_cam[21:])):
        assert hand["names"] == [f"{side} {name}" for name in HAND_JOINT_NAMES]
        np.testing.assert_allclose(hand["joints"], joints, atol=0.00501)
    for side in SIDES:
        for name in HAND_JOINT_NAMES:
            assert f'"{side} {name}"' in text


def test_the_page_parses_and_needs_nothing_from_elsewhere() -> None:
    text = page(replace(random_pose(), source="a <b> & 'c'.jpg").to_dict())
    read = Reader(text)
    assert read.texts["title"].startswith("a <b> & 'c'.jpg") and read.texts["h1"] == "a <b> & 'c'.jpg"
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch|XMLHttp|import\(", text)
    assert not {"src", "href"} & {name for name, _ in read.attributes}
    assert "a field of view; an average hand" in read.texts["span"]


def test_the_checks_of_the_page_can_fail() -> None:
    with pytest.raises(AssertionError):
        Reader("<div><span></div></span>")
    with pytest.raises(AssertionError, match="never closed"):
        Reader("<div>")


def test_a_file_name_that_is_not_utf8_is_shown_as_far_as_possible() -> None:
    shown = page(replace(random_pose(), source="photo\udce4.png").to_dict())
    assert "<title>photo?.png" in shown and shown.encode("utf-8")


def test_no_name_ends_the_script_early() -> None:
    result = random_pose().to_dict()
    result["image"]["source"] = result["hands"][0]["side"] = "right"
    result["camera"]["assumed"] = "</script><script>alert(1)</script>"
    text = page(result)
    assert text.count("<script") == text.count("</script>") == 2 and "&lt;script&gt;alert" in text


@pytest.mark.parametrize(("right", "left", "hands"), [(0.9, 0.1, ["right"]), (0.1, 0.9, ["left"]), (0.1, 0.1, [])])
def test_absent_hands_are_not_shown(right: float, left: float, hands: list[str]) -> None:
    text = page(random_pose(right, left).to_dict())
    assert [hand["names"][0].split()[0] for hand in data_of(text)["hands"]] == hands
    assert [side for side in SIDES if f"{side} hand, 90% there" in text] == hands


def test_the_legend_tells_how_sure_the_hands_are() -> None:
    text = page(replace(random_pose(), confidence=np.repeat([0.634, 0.1], 21)).to_dict())
    assert "right hand, 63% sure" in text and "left hand, in doubt" in text


def test_the_title_is_the_name_without_its_folders() -> None:
    read = page(replace(random_pose(), source="/home/somebody/a.jpg").to_dict())
    assert "<h1>a.jpg</h1>" in read and "somebody" not in read


def test_save_html_writes_the_page(tmp_path: Path) -> None:
    random_pose().save_html(tmp_path / "new" / "pose.html")
    assert (tmp_path / "new" / "pose.html").read_text(encoding="utf-8") == page(random_pose().to_dict())


@pytest.mark.skipif(shutil.which("node") is None, reason="node, which runs the page's script here, is not installed")
@pytest.mark.parametrize(("right", "left"), [(0.9, 0.9), (0.1, 0.1)])
def test_the_script_draws_turns_and_names_joints(tmp_path: Path, right: float, left: float) -> None:
    """The script runs with a stand-in for the canvas that records the calls."""
    pose = random_pose(right, left)
    if right > 0.5:
        pose = replace(pose, confidence=np.repeat([0.6, 0.1], 21))
    text = page(pose.to_dict())
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    data = re.search(r'id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert data
    (tmp_path / "run.js").write_text(
        f"""
const calls = [], elements = {{}};
const element = id => elements[id] ??= {{style: {{}}, textContent: id === "data" ? {json.dumps(data[1])} : ""}};
const paper = new Proxy({{}}, {{get: (_, name) => (...given) => calls.push([name, ...given]), set: () => true}});
const fake = Object.assign(element("canvas"), {{clientWidth: 800, clientHeight: 600, getContext: () => paper,
  setPointerCapture() {{}}}});
globalThis.document = {{getElementById: element, querySelector: () => fake}};
globalThis.window = globalThis; globalThis.innerWidth = 800;
globalThis.getComputedStyle = () => ({{getPropertyValue: () => "#888"}}); globalThis.matchMedia = () => ({{}});
let resized;
globalThis.ResizeObserver = class {{
  constructor(act) {{ this.act = act; }}
  observe(at) {{ resized = () => at === fake && this.act(); }}
}};
{script}
const arcs = () => calls.splice(0).filter(call => call[0] === "arc").map(call => call.slice(1, 3));
const dashed = calls.filter(call => call[0] === "setLineDash" && call[1].length).length;
const front = arcs();
fake.clientWidth = 600; resized();
const smaller = arcs();
fake.clientWidth = 800; resized(); calls.splice(0);
const seen = shown.map(at => [at.x, at.y]);
const named = shown.map(at => {{ canvas.onpointermove({{pointerId: 9, offsetX: at.x, offsetY: at.y}});
  return label.textContent; }});
const told = [label.hidden];
canvas.onpointerdown({{pointerId: 1, clientX: 0, clientY: 0}});
canvas.onpointermove({{pointerId: 1, clientX: 40, clientY: 0}});
told.push(label.hidden);  // the joint that it named is elsewhere now
canvas.onpointerup({{pointerId: 1, offsetX: shown[0]?.x, offsetY: shown[0]?.y}});
told.push(label.hidden);  // a drag is no tap
canvas.onpointerdown({{pointerId: 1, clientX: 0, clientY: 0}});
canvas.onpointerup({{pointerId: 1, offsetX: shown[0]?.x, offsetY: shown[0]?.y}});
told.push(label.hidden);
canvas.onpointerleave({{pointerType: "mouse"}});
told.push(label.hidden);
const turned = shown.map(at => [at.x, at.y]);
element("front").onclick();
const back = shown.map(at => [at.x, at.y]);
console.log(JSON.stringify({{front, smaller, seen, named, turned, back, told, dashed}}));
""",
        encoding="utf-8",
    )
    done = subprocess.run(["node", tmp_path / "run.js"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert len(output["smaller"]) == len(output["front"]) and (right < 0.5 or output["smaller"] != output["front"])
    if right < 0.5:
        assert output["front"] == [] == output["seen"] and "<span hidden><button" in text
        return
    assert output["told"] == [False, True, True, False, True]
    assert output["dashed"] == 2 * 20  # the outline and the bone of each of the left hand's, which is in doubt
    seen = np.array(output["seen"])
    assert len(seen) == 42 and (seen > 0).all() and (seen < [800, 600]).all()
    # Right and up are as in the picture, and pointing at a joint shows its name.
    for axis in (0, 1):
        assert np.corrcoef(seen[:, axis], pose.joints_cam[:, axis])[0, 1] > 0.95
    wrist = pose.joints_cam[41]
    assert f"left wrist  {', '.join(f'{mm:.1f}' for mm in np.round(wrist, 2))} mm" in output["named"]
    assert len(set(output["named"])) > 35  # some joints of this random pose lie in front of others
    assert np.abs(np.array(output["turned"]) - seen).max() > 10
    np.testing.assert_allclose(output["back"], seen)
