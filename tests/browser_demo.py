"""The web page in a headless Chromium: upload, example, webcam, mirrored, message, download. A screenshot is kept.

usage: python tests/browser_demo.py BIN OUT   (the folder of the unclasp command, and one for the screenshots)
Needs chromium, chromedriver and selenium; says so and ends well where one of them is missing.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PICTURE = Path(__file__).parents[1] / "examples" / "two_hands.jpg"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1440,1120",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
PATIENCE = 90.0


def missing() -> list[str]:
    """Return what is not installed of what this test needs."""
    programs = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return programs + (["selenium"] if importlib.util.find_spec("selenium") is None else [])


def start_browser(profile: Path, downloads: Path) -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def wait_for(what: str, done: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := done():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE:g} s for {what}")


class Page:
    """The page in a browser, by what is seen of it."""

    def __init__(self, browser: Any, downloads: Path) -> None:
        self.browser, self.downloads = browser, downloads

    def at(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def wait_for_result(self, pattern: str) -> None:
        def shown() -> bool:
            assert self.at("status").get_attribute("class") != "error", self.at("status").text
            return bool(self.at("result").is_displayed() and re.search(pattern, self.at("status").text))

        wait_for(f"a result that says {pattern}", shown)
        wait_for("the overlay", lambda: self.browser.execute_script("return at('overlay').naturalWidth > 0"))

    def download(self, button: str, name: str) -> str:
        self.at(button).click()
        path = self.downloads / name
        wait_for(f"the file {name}", lambda: path.exists() and path.stat().st_size)
        return path.read_text(encoding="utf-8")


def check(page: Page, out: Path) -> None:
    """Go through the page as a person would."""
    from selenium.webdriver.common.by import By

    browser = page.browser
    page.at("file").send_keys(str(PICTURE))
    page.wait_for_result(r"^Two hands in two_hands\.jpg.* They touch \(\d\d %\)\.$")
    assumed = page.at("assumed").text
    assert "field of view" in assumed and "average adult" in assumed, assumed
    assert all(side in page.at("presence").text for side in ("right hand", "left hand"))
    browser.switch_to.frame(page.at("view"))
    legend = wait_for("the 3D view", lambda: browser.find_elements(By.TAG_NAME, "header"))[0].text
    # The canvas has no size, and so no pixels to be read, before the page is laid out.
    drawn = (
        "const c = document.querySelector('canvas'); if (!c.width || !c.height) return false;"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, k) => k % 4 === 3 && v > 0)"
    )
    wait_for("the drawing", lambda: browser.execute_script(drawn))
    browser.switch_to.default_content()
    assert "right hand" in legend and "left hand" in legend, legend
    result = json.loads(page.download("save-json", "two_hands.json"))
    assert [hand["side"] for hand in result["hands"]] == ["right", "left"]
    assert page.download("save-view", "two_hands.html").startswith("<!DOCTYPE html>")
    browser.execute_script("scrollTo(0, 0)")
    browser.save_screenshot(str(out / "demo.png"))
    browser.set_window_size(480, 1500)
    browser.save_screenshot(str(out / "demo-narrow.png"))
    browser.set_window_size(1440, 1120)

    page.at("mirrored").click()
    page.wait_for_result(r"two_hands\.jpg")
    wait_for("the mirrored result", lambda: "is a mirror image" in page.at("assumed").text)
    browser.find_element(By.CSS_SELECTOR, "#examples button").click()
    page.wait_for_result(r"in apart\.jpg")
    page.at("start").click()
    wait_for("the webcam", lambda: browser.execute_script("return at('video').videoWidth > 0"))
    page.at("snap").click()
    page.wait_for_result(r"in webcam\.jpg")
    assert not page.at("mirrored").is_selected()
    page.at("stop").click()

    check_late_answers(page)
    gone = page.downloads / "gone.jpg"
    shutil.copyfile(PICTURE, gone)
    page.at("file").send_keys(str(gone))
    page.wait_for_result(r"in gone\.jpg")
    gone.unlink()
    page.at("mirrored").click()
    wait_for("the message", lambda: "gone.jpg cannot be read" in page.at("status").text)
    browser.execute_script("""
        const dataTransfer = new DataTransfer();
        dataTransfer.setData("text/plain", "https://example.org/hand.jpg");
        document.dispatchEvent(new DragEvent("drop", {dataTransfer}));""")
    wait_for("the message", lambda: "no file was dropped" in page.at("status").text)
    document = page.downloads / "paper.pdf"
    document.write_bytes(b"%PDF-1.7\n" + bytes(100))
    page.at("file").send_keys(str(document))
    wait_for("the message", lambda: "got a PDF document" in page.at("status").text)
    assert not page.at("result").is_displayed()
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert all("422" in message for message in severe), severe


def check_late_answers(page: Page) -> None:
    """Click faster than the server and the browser answer."""
    from selenium.webdriver.common.by import By

    browser = page.browser
    browser.execute_script("""
        window.realFetch = fetch;
        window.fetch = async (path, options) => {
          if (!path.startsWith("examples/")) return realFetch(path, options);
          await new Promise(done => setTimeout(done, 1500));
          window.exampleCame = true;
          return realFetch(path, options);
        };""")
    browser.find_element(By.CSS_SELECTOR, "#examples button").click()
    page.at("file").send_keys(str(PICTURE))
    page.wait_for_result(r"in two_hands\.jpg")
    wait_for("the example", lambda: browser.execute_script("return window.exampleCame"))
    time.sleep(1.0)
    page.wait_for_result(r"in two_hands\.jpg")

    for body in ('{"error": "not for this page"}', "not JSON"):
        answer = f"new Response({json.dumps(body)}, {{status: 403, statusText: 'Forbidden'}})"
        browser.execute_script(
            f"window.fetch = async (path, more) => path.startsWith('examples/') ? {answer} : realFetch(path, more)"
        )
        browser.find_element(By.CSS_SELECTOR, "#examples button").click()
        told = "not for this page" if body.startswith("{") else "the server responded with 403 Forbidden"
        wait_for(f"the message {told}", lambda told=told: page.at("status").text == told)
    browser.execute_script("window.fetch = realFetch")

    browser.execute_script("""
        const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
        window.opened = [];
        devices.getUserMedia = async wanted => { const one = await open(wanted); opened.push(one); return one; };
        at("start").click();
        at("start").click();""")
    wait_for("the webcam", lambda: browser.execute_script("return at('video').videoWidth > 0"))
    time.sleep(0.5)
    page.at("stop").click()
    live = "return opened.flatMap(one => one.getTracks()).filter(track => track.readyState === 'live').length"
    assert browser.execute_script("return opened.length") == 1 and browser.execute_script(live) == 0
    browser.execute_script("delete navigator.mediaDevices.getUserMedia")
    assert page.at("start").is_displayed() and page.at("start").is_enabled()


def main() -> None:
    if lacking := missing():
        print(f"web page in a browser: SKIPPED, not installed: {', '.join(lacking)}")
        return
    unclasp, out = Path(sys.argv[1]).absolute() / "unclasp", Path(sys.argv[2]).absolute()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        downloads, profile = Path(folder) / "downloads", Path(folder) / "profile"
        downloads.mkdir()
        serving = subprocess.Popen([unclasp, "demo", "--port", "0"], stdout=subprocess.PIPE, text=True)
        try:
            assert serving.stdout is not None
            url = serving.stdout.readline().split()[1]
            os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
            browser = start_browser(profile, downloads)
            try:
                browser.get(url)
                check(Page(browser, downloads), out)
            finally:
                browser.quit()
        finally:
            serving.send_signal(signal.SIGINT)
            serving.wait(30)
    print(f"web page in a browser: passed; screenshot {out / 'demo.png'}")


if __name__ == "__main__":
    main()
