"""Leadership: one lease per application, claimed by whoever asks first when it is free.

While the holder's agent is in contact the lease renews itself every half term, so nothing has
to be written. When contact is lost (crash, freeze, partition) the lease runs to the end that
the last renewal gave it: between half a term and a whole term from then. An orderly death
revokes it at once; a dying unit keeps it until it is dead.
"""

from localjuju.entities import Application, Lease, Records, Unit
from localjuju.resolver.state import ALIVE, DEAD

TERM_SECONDS = 60.0
TERM_KEY = "localjuju-lease-seconds"


def term(records: Records) -> float:
    """Return the length of a lease in this model."""
    return float(records.model.config.get(TERM_KEY, TERM_SECONDS))


def is_in_contact(records: Records, unit: Unit) -> bool:
    """Say whether the unit's agent reaches the controller."""
    machine = records.machines.get(unit.machine)
    if machine is None or machine.frozen or machine.partitioned or not machine.wanted:
        return False
    return machine.agent.current == "started"


def leader_of(records: Records, app: Application, now: float) -> str:
    """Return the unit that holds an unexpired lease, or nothing."""
    lease = app.lease
    if lease is None or lease.holder not in records.units:
        return ""
    if lease.expires and now >= lease.expires:
        return ""
    return lease.holder


def is_leader(records: Records, unit: Unit, now: float) -> bool:
    """Say whether leadership is promised to the unit for a while (``is-leader``)."""
    app = records.applications.get(unit.app)
    return app is not None and leader_of(records, app, now) == unit.name


def claim(records: Records, unit: Unit, now: float) -> bool:
    """Take a free lease for a unit that can use it; return whether something changed."""
    app = records.applications.get(unit.app)
    if app is None or leader_of(records, app, now):
        return False
    if unit.life != ALIVE or not is_in_contact(records, unit):
        return False
    app.lease = Lease(unit.name, now)
    return True


def lose_contact(records: Records, machine: str, now: float) -> None:
    """Let the leases of a machine's units run out."""
    for unit in records.units.values():
        app = records.applications.get(unit.app)
        lease = app.lease if app is not None else None
        if unit.machine == machine and lease and lease.holder == unit.name and not lease.expires:
            half = term(records) / 2
            renewed = lease.acquired + (now - lease.acquired) // half * half
            lease.expires = renewed + term(records)


def regain_contact(records: Records, machine: str, now: float) -> None:
    """Renew what has not run out in the meantime."""
    for unit in records.units.values():
        app = records.applications.get(unit.app)
        lease = app.lease if app is not None else None
        if unit.machine == machine and lease and lease.holder == unit.name and lease.expires > now:
            app.lease = Lease(unit.name, now)  # type: ignore[union-attr]


def release(records: Records, unit: Unit) -> None:
    """Revoke the lease of a unit that is dead."""
    app = records.applications.get(unit.app)
    if app is not None and app.lease is not None and app.lease.holder == unit.name:
        assert unit.life == DEAD
        app.lease = None


def next_expiry(records: Records, unit: Unit, now: float) -> float:
    """Return when a lease that this unit waits for runs out; 0 when there is none."""
    app = records.applications.get(unit.app)
    lease = app.lease if app is not None else None
    return lease.expires if lease is not None and lease.expires > now else 0.0
