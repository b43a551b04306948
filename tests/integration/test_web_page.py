"""The page in a real browser: what its user sees and does, wide and on a phone, light and dark."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import anyio
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tale.tasks.leave import Asked
from tale.tasks.plan_facts import PlanFacts
from web_world import PLAN, QUICK, UX, World, parts, served, trend

CHROMIUM: Final = shutil.which("chromium")
SECONDS: Final = 60_000
PARTS: Final = parts(
    ("fetch", "Fetch pages", ()), ("parse", "Parse them", ("fetch",)), ("test", "Test", ("parse",))
)
HOSTILE: Final = '<img src=x onerror=alert(1)><script>alert(2)</script> &amp; "quoted"'
UNLABELLED: Final = """() => [...document.querySelectorAll("button, select, textarea, svg")]
  .filter((one) => one.getClientRects().length > 0)
  .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label")
    || one.getAttribute("aria-labelledby") || one.labels?.length))
  .map((one) => one.outerHTML)"""
# Contrast as WCAG 2 reckons it, of each text against what it stands on.
FAINT: Final = """() => {
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const read = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const found = read(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !one.getClientRects().length || one.closest("svg, noscript, .unseen")) continue;
    const [ink, on] = [light(read(getComputedStyle(one).color)), light(ground(one))];
    const ratio = (Math.max(ink, on) + 0.05) / (Math.min(ink, on) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(1)} ${one.outerHTML.slice(0, 120)}`);
  }
  return found;
}"""

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]


class Visitor:
    """A browser's user."""

    def __init__(self, browser: Browser, world: World) -> None:
        self._browser = browser
        self.world = world
        self.complaints: list[str] = []

    async def opens(
        self,
        link: str,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: Literal["light", "dark"] = "light",
    ) -> Page:
        context = await self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        context.set_default_timeout(SECONDS)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on(
            "console",
            lambda line: self.complaints.append(line.text) if "Policy" in line.text else None,
        )
        await page.goto(link)
        return page


@asynccontextmanager
async def visiting(home: Path) -> AsyncGenerator[Visitor]:
    expect.set_options(timeout=SECONDS)
    # The sandbox of Chromium's own needs a user that is not root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with (
        served(home, pace=replace(QUICK, servers=0.3, models=0.3, tokens=0.3)) as (world, _),
        async_playwright() as play,
    ):
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield Visitor(browser, world)
        await browser.close()


async def test_a_user_logs_in_sees_a_task_move_and_approves_a_plan(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        world = visitor.world
        stranger = await visitor.opens(world.url)
        await expect(stranger.get_by_text("This browser is not logged in.")).to_be_visible()
        await expect(stranger.get_by_text("tale dashboard --web")).to_be_visible()

        link = world.link()
        page = await visitor.opens(link)
        await expect(page.get_by_role("heading", name=UX)).to_be_visible()
        assert page.url == f"{world.url}/"
        await expect(page.locator("#verdict")).to_contain_text("servers are ready")
        used = await visitor.opens(link)
        await expect(used.get_by_text("That link was used already")).to_be_visible()

        identity = await world.task("Write a scraper", *PARTS)
        line = page.get_by_role("button", name="Write a scraper running")
        await line.click()
        await world.note(identity, "subtask", id="fetch", state="running")
        await expect(page.locator(".part.running")).to_contain_text("Fetch pages")
        await world.note(identity, "note", text=HOSTILE)
        await expect(page.get_by_text(HOSTILE)).to_be_visible()

        facts = PlanFacts(remembered=(f"You prefer {HOSTILE}.",))
        await world.ask(
            identity, Asked("q1", "May it follow this plan?", "ApprovePlan", PLAN, "d1", facts)
        )
        form = page.locator("form.ask")
        await expect(form.get_by_text(f"It remembers: You prefer {HOSTILE}.")).to_be_visible()
        await expect(form.locator(".part-title")).to_have_count(3)
        await form.get_by_role("textbox").fill("Mind the tests.")
        await world.task("Something else meanwhile")
        await expect(page.get_by_text("Something else meanwhile")).to_be_visible()
        await form.get_by_role("button", name="Approve").press("Enter")
        await expect(page.locator("#asks")).to_be_hidden()
        events, _ = await world.store.events(identity, 0)
        assert (events[-1].kind, events[-1].data["text"]) == ("approved", "Mind the tests.")

        await page.get_by_role("button", name="Restore checkpoint 2").click()
        await page.get_by_role("button", name="Leave it").click()
        assert world.restored == []
        await page.get_by_role("button", name="Restore checkpoint 2").click()
        await page.get_by_role("button", name="Restore", exact=True).click()
        await expect(page.locator("#said")).to_contain_text("Before, it was checkpoint 3")
        assert world.restored == [2]

        log = tmp_path / "logs" / "gateway.log"
        log.write_text("one line\n")
        await page.get_by_text("Show the end of a server").click()
        await expect(page.get_by_role("log")).to_have_text("one line\n")
        with log.open("a") as more:
            more.write(f"{HOSTILE}\n")
        await expect(page.get_by_role("log")).to_contain_text(HOSTILE)
        assert visitor.complaints == []


async def test_it_fits_a_phone_and_can_be_read_and_heard_in_light_and_dark(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        world = visitor.world
        world.sources.known = trend(time.time())
        identity = await world.task(f"{HOSTILE} {'long' * 60}", *PARTS)
        other = await world.task("Build an application")
        await world.ask(other, Asked("q1", "May it follow this plan?", "plan", PLAN, "d1"))
        for scheme in ("light", "dark"):
            phone = await visitor.opens(world.link(), width=360, height=780, scheme=scheme)
            await phone.locator(f"[data-do=unfold][data-task='{identity}']").click()
            await expect(phone.locator(".checkpoints li")).to_have_count(2)
            await expect(phone.locator(".chart")).to_have_count(4)
            wide = "document.documentElement.scrollWidth"
            assert await phone.evaluate(wide) == 360
            assert await phone.evaluate(UNLABELLED) == []
            assert await phone.evaluate(FAINT) == []
        assert visitor.complaints == []


async def test_a_lost_connection_is_told_and_heals(tmp_path: Path) -> None:
    async with (
        served(tmp_path, pace=QUICK) as (world, port),
        async_playwright() as play,
        anyio.create_task_group() as tasks,
    ):
        expect.set_options(timeout=SECONDS)
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = await Visitor(browser, world).opens(world.link())
        await expect(page.get_by_role("heading", name=UX)).to_be_visible()
        await port.shut()
        await expect(page.get_by_text("Connection lost, trying again")).to_be_visible()
        await world.task("Begun while nobody was there")
        await port.open(tasks)
        await expect(page.get_by_text("Begun while nobody was there")).to_be_visible()
        await expect(page.get_by_text("Connection lost")).to_be_hidden()
        await browser.close()
        await port.shut()
