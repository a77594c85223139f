"""The pages, as a browser without JavaScript sees them."""

import re

from httpx import AsyncClient, Response

from tests.identity.story import PASSWORD, World


def forms(page: Response) -> list[dict[str, str]]:
    """Each form's hidden and visible fields, with its action under `action`."""
    found = []
    for action, inside in re.findall(r'<form method="post" action="([^"]*)">(.*?)</form>', page.text, re.DOTALL):
        fields = dict(re.findall(r'name="([^"]+)"[^>]*? value="([^"]*)"', inside))
        found.append({"action": action, **fields})
    return found


async def press(browser: AsyncClient, page: Response, do: str, **fields: str) -> Response:
    """Fill in the form that does this, and press its button; redirects are followed."""
    form = next(form for form in forms(page) if form.get("do", "") == do)
    action = form.pop("action")
    return await browser.post(action, data={**form, **fields}, follow_redirects=True)


async def test_a_new_person_accepts_by_page(world: World) -> None:
    acme = await world.tenant()
    bob = world.member(acme)
    code = await world.invite(bob)
    browser = world.browser()
    page = await browser.get(f"/t/{acme.slug}/invitation/{code}", follow_redirects=True)
    assert page.status_code == 200, page.text
    page = await press(browser, page, "accept", password=PASSWORD)
    assert page.status_code == 200
    assert page.url.path == f"/t/{acme.slug}"
    assert "Willkommen" in page.text
