"""The overview: what the site does now, and plots of the last hour."""

import msgspec

from app.ops.site_counts import Counts
from app.services import Services
from handlers.admin.admin_page import AdminPage
from handlers.admin.plot import Plot, plots


class Overview(msgspec.Struct, frozen=True):
    """What the page shows, and what its socket is sent."""

    now: Counts
    users: int  # who are present
    sign_ins: int  # in the last hour
    plots: list[Plot]


async def overview(services: Services) -> Overview:
    """Return the overview of all processes; raises StoreError."""
    counts = services.site_counts
    now = await counts.now()
    users = len(await services.presence.everyone())
    hour = await counts.hour()
    sign_ins = now.sign_ins + sum(each.sign_ins for each in hour)
    return Overview(now, users, sign_ins, plots(hour, now))


class OverviewHandler(AdminPage):
    """The page."""

    part = "overview"

    async def get(self) -> None:
        shown = await overview(self.services)
        if self.wants_json:
            self.set_header("Cache-Control", "no-store")
            self.write(msgspec.to_builtins(shown))
        else:
            self.show("admin_overview.html", shown=shown, search="")


routes = [(r"/admin", OverviewHandler)]
