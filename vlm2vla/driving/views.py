"""What a page is shown of the studio's robot, operator and run. Looks, and changes nothing."""

from typing import TYPE_CHECKING, Any

from vlm2vla.driving import robots
from vlm2vla.driving.gate import MODES
from vlm2vla.driving.typing_line import MAX_TEXT
from vlm2vla.language import MAX_ROWS
from vlm2vla.simulation.tasks import FAMILIES

if TYPE_CHECKING:
    from vlm2vla.driving.service import DriveService
    from vlm2vla.driving.watch import Watch

JSON = dict[str, Any]
PARTS = ("robot", "opening", "checks", "lease", "mode", "run")


def whole_view(service: "DriveService", client: str) -> JSON:
    """The whole picture, for the page of `client`."""
    seq = service.events.seq  # first: what happens meanwhile is told again rather than missed
    kind = service.connected.id if service.connected else ""
    times = service.times
    return {
        "seq": seq,
        "boot": service.events.boot,
        "now": round(service.events.now(), 3),
        "robots": robots.catalogue(),
        "tasks": list(FAMILIES),
        "policies": [choice.view(kind) for choice in service.policies.choices()],
        "modes": list(MODES),
        "limits": {
            "approval_s": times.approval_s,
            "veto_s": times.veto_s,
            "lease_s": times.lease_s,
            "max_text": MAX_TEXT,
            "max_rows": MAX_ROWS,
        },
    } | service.parts(*PARTS, client=client)


def robot_view(service: "DriveService", watch: "Watch") -> JSON | None:
    """The open robot with its newest status and pose."""
    connected = service.connected
    if connected is None:
        return None
    return connected.view() | {"status": watch.status_view(), "pose": watch.pose()}


def lease_view(service: "DriveService", client: str) -> JSON:
    """Who drives, and whether that is `client`."""
    operator = service.lease.operator
    mine = operator is not None and bool(client) and operator.client == client
    shown = {"name": operator.name, "client": operator.client, "since": operator.since} if operator else None
    return {"operator": shown, "watchers": service.lease.watchers(), "mine": mine}
