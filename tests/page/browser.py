"""The page of `kvasir serve` in a headless Chromium: somebody gives the key, asks, looks and switches colours.

Usage: browser.py URL KEY BROWSER DRIVER PICTURES. `cargo xtask test --only page` starts a server and leaves the
pictures in the build folder.
"""

import json
import re
import sys
import urllib.request
from pathlib import Path

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

# Longest that anything here takes, seconds.
PATIENCE = 60
MARKUP = "<img src=x onerror=document.title='taken'><b>bold</b>"


class Page:
    """What a user sees and does."""

    def __init__(self, url, browser, driver):
        options = ChromeOptions()
        options.binary_location = browser
        # No sandbox: tests run as root in containers, and the page is our own.
        for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1280,860"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=ChromeService(executable_path=driver))
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [LIGHT, STILL]})
        self.url = url
        self.driver.get(url)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.find(selector).text

    def wait(self, what, is_so):
        WebDriverWait(self.driver, PATIENCE).until(lambda _: is_so(), f"{what}\n{self.text('body')}")

    def type(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        return self.driver.switch_to.active_element.get_attribute("id")

    def tab_to(self, name):
        for _ in range(40):
            if self.focused() == name:
                return
            self.type(Keys.TAB)
        raise AssertionError(f"the tab key never reaches #{name}")

    def colour(self, selector):
        """Red, green and blue of the background."""
        found = re.findall(r"[\d.]+", self.find(selector).value_of_css_property("background-color"))
        return [float(part) for part in found[:3]]

    def picture(self, path, width=1280, height=860):
        self.driver.set_window_size(width, height)
        self.wait("the window has its size", lambda: self.driver.execute_script("return innerWidth") <= width)
        # Plots are drawn anew for a new width.
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        self.driver.save_screenshot(str(path))

    def map_colours(self):
        """How many colours the map of KV blocks has."""
        script = """
            const canvas = document.getElementById("blocks");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const colours = new Set();
            for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) colours.add(data.slice(i, i + 3).join());
            return colours.size;"""
        return self.driver.execute_script(script)

    def num_blocks(self):
        """Blocks by their state, as the legend says."""
        legend = self.text("#blocks-legend").replace(",", "")
        return {state: int(count) for state, count in re.findall(r"(\w+)\s+(\d+)", legend)}


LIGHT = {"name": "prefers-color-scheme", "value": "light"}
STILL = {"name": "prefers-reduced-motion", "value": "reduce"}


def state(url, key):
    request = urllib.request.Request(f"{url}/kvasir/state", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def a_key_is_asked_for(page, key):
    page.wait("a key is wanted", lambda: page.find("#key-form").is_displayed())
    page.type("wrong", Keys.ENTER)
    page.wait("it is wanted again", lambda: page.find("#key-form").is_displayed())
    page.find("#key").send_keys(key, Keys.ENTER)
    page.wait("the engine is seen", lambda: page.text("#connection") == "idle")
    assert not page.find("#key-form").is_displayed()
    assert page.text("#model") == "smollm2"
    assert page.driver.execute_script("return JSON.stringify(localStorage)").find(key) < 0


def a_question_is_answered(page):
    before = page.num_blocks()
    assert before["free"] > 0 and before["active"] == 0, before
    assert page.map_colours() == 1
    page.find("#question").click()
    page.type("Tell me a very long story of the sea.")
    page.find("#send").click()
    page.wait("an answer is streamed", lambda: page.all(".assistant .text") and page.text(".assistant .text"))
    begun = page.text(".assistant .text")
    page.wait("it is seen while it is computed", lambda: page.num_blocks()["active"] > 0)
    page.find("#stop").click()
    page.wait("it ends", lambda: page.all(".assistant .stats"))
    assert page.text(".assistant .text").startswith(begun)
    assert "ended by you" in page.text(".stats"), page.text(".stats")


def the_engine_is_seen(page, key):
    page.wait("it is idle again", lambda: page.text("#connection") == "idle")
    page.wait("nothing runs", lambda: page.num_blocks()["active"] == 0 and page.num_blocks()["cached"] > 0)
    blocks = state(page.url, key)["kv_blocks"]
    assert page.num_blocks() == {name: blocks[name] for name in page.num_blocks()}
    assert page.map_colours() > 1, "cached blocks have a colour of their own"
    for tile in ("running", "waiting", "preemptions", "tokens", "step", "usage"):
        assert re.match(r"\d", page.text(f"#{tile}")), tile
    page.wait("latencies are shown", lambda: re.match(r"[\d.]+ m?s / ", page.text("#ttft")))
    assert re.match(r"[\d.]+ m?s / ", page.text("#itl"))


def markup_stays_text(page):
    """The user's text and the model's go the same way; the model's is not ours to choose."""
    page.find("summary").click()
    page.find("#max-tokens").clear()
    for field, value in (("system", "You are brief."), ("temperature", "0.5"), ("max-tokens", "24"), ("seed", "7")):
        page.find(f"#{field}").send_keys(value)
    page.find("summary").click()
    page.find("#question").send_keys(MARKUP, Keys.ENTER)
    page.wait("it is shown", lambda: MARKUP in page.text("#log"))
    page.wait("it is answered", lambda: len(page.all(".stats")) == 2)
    told = page.all(".stats")[1].text
    for name in ("first token", "prompt", "cached", "answer", "ended by"):
        assert name in told, told
    assert not page.all("#log img") and not page.all("#log b:not(.stats b)")
    assert page.driver.title == "Kvasir"


def everything_can_be_done_by_keyboard(page):
    page.driver.get(page.url)
    page.type(Keys.TAB)
    assert page.driver.switch_to.active_element.text == "Skip to the question"
    page.type(Keys.ENTER)
    page.wait("the question has the focus", lambda: page.focused() in ("question", ""))
    page.tab_to("question")
    page.type("Tell me a very long story of the sea.", Keys.ENTER)
    page.wait("it is answered", lambda: page.all(".assistant .text") and page.text(".assistant .text"))
    page.type(Keys.ESCAPE)
    page.wait("it stops", lambda: page.all(".assistant .stats"))
    assert "ended by you" in page.text(".stats").replace("\n", " "), page.text(".stats")
    page.wait("the request is withdrawn", lambda: page.text("#connection") == "idle")
    ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    page.tab_to("theme")
    page.type(Keys.SPACE)
    page.wait("it is dark", lambda: page.find("#theme").get_attribute("aria-pressed") == "true")
    page.type(Keys.SPACE)
    page.tab_to("new-chat")
    page.type(Keys.ENTER)
    page.wait("a new chat begins", lambda: not page.all(".turn") and page.focused() == "question")


def colours_can_be_switched(page):
    assert min(page.colour("body")) > 200, "the system's choice is light"
    page.find("#theme").click()
    page.wait("it is dark", lambda: max(page.colour("body")) < 60)
    page.driver.refresh()
    page.wait("it stays dark", lambda: max(page.colour("body")) < 60)
    page.wait("the engine is seen", lambda: page.text("#connection") == "idle")


def a_phone_is_wide_enough(page):
    width, needed = page.driver.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert needed <= width, f"{needed} of {width} pixels"
    assert page.find("#send").is_displayed()


def nothing_went_wrong(page):
    """No script failed, and the policy had nothing to forbid."""
    for entry in page.driver.get_log("browser"):
        # Keys that are wanted are asked for.
        assert entry["level"] != "SEVERE" or "401" in entry["message"], entry


def main():
    url, key, browser, driver, pictures = sys.argv[1:]
    pictures = Path(pictures)
    page = Page(url, browser, driver)
    try:
        a_key_is_asked_for(page, key)
        a_question_is_answered(page)
        markup_stays_text(page)
        the_engine_is_seen(page, key)
        page.picture(pictures / "light.png")
        everything_can_be_done_by_keyboard(page)
        colours_can_be_switched(page)
        page.find("#question").send_keys("What is a raven?", Keys.ENTER)
        page.wait("it is answered", lambda: page.all(".stats"))
        page.picture(pictures / "dark.png")
        page.picture(pictures / "narrow.png", 500, 1700)
        a_phone_is_wide_enough(page)
        nothing_went_wrong(page)
    except BaseException:
        page.driver.save_screenshot(str(pictures / "failed.png"))
        raise
    finally:
        page.driver.quit()


if __name__ == "__main__":
    main()
