"""A real browser, for what only a browser sees."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's own (Debian's `chromium`): without it the test fails, and is not passed over in silence."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("There is no chromium on this machine. Install it: apt-get install chromium")
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()
