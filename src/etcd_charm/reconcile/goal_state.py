"""Which units Juju has: the only proof that a unit goes or is gone.

ops counts planned units but does not name them, so the hook tool is asked directly.
"""

from typing import Protocol

from ops import hookcmds

from etcd_charm.cluster.facts import UnitName

DYING = "dying"


class GoalState(Protocol):
    """The border that tests replace."""

    def read_units(self) -> dict[UnitName, str]:
        """Return the status of each unit of this application; a dead unit is left out."""


class JujuGoalState:
    """goal-state of the running hook."""

    def read_units(self) -> dict[UnitName, str]:
        """Return the status of each unit of this application."""
        units = hookcmds.goal_state().units
        return {UnitName(name): goal.status for name, goal in units.items()}
