"""A charm with fakes at its two borders: the engine, and the names of the units."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ops import testing

from charm import EtcdCharm
from etcd_charm.cluster.facts import UnitName
from tests.unit.etcd_charm.fake_engine import FakeEngine

ROOT = Path(__file__).resolve().parents[3]
ADDRESS = "10.0.0.0"


class FakeGoalState:
    def __init__(self, units: dict[str, str]) -> None:
        self.units = units

    def read_units(self) -> dict[UnitName, str]:
        return {UnitName(name): status for name, status in self.units.items()}


@dataclasses.dataclass
class Bench:
    """Everything that a test of the whole charm touches."""

    engine: FakeEngine
    goal_state: FakeGoalState
    context: testing.Context[EtcdCharm]
    placeholder: Path

    def run(self, event: Any, state: testing.State) -> testing.State:
        """Run one hook."""
        return self.context.run(event, self.complete(state))

    def complete(self, state: testing.State) -> testing.State:
        """Return the state with a placeholder for each resource that is not attached."""
        given = {resource.name for resource in state.resources}
        missing = {
            testing.Resource(name=name, path=self.placeholder)
            for name in ("raftkv", "etcd", "etcdctl")
            if name not in given
        }
        return dataclasses.replace(state, resources={*state.resources, *missing})

    def found(self, **changes: Any) -> testing.State:
        """Run the hooks of a first unit until it is the cluster's only member."""
        on = self.context.on
        changes.setdefault("relations", {testing.PeerRelation("cluster")})
        state = testing.State(leader=True, **changes)
        for event in (on.leader_elected(), on.config_changed(), on.start()):
            state = self.run(event, state)
        return self.run(on.update_status(), state)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def make(unit_id: int = 0, units: dict[str, str] | None = None) -> Bench:
        engine = FakeEngine(f"etcd/{unit_id}")
        engine.scratch = tmp_path
        goal_state = FakeGoalState(units or {f"etcd/{unit_id}": "active"})

        class CharmUnderTest(EtcdCharm):
            def make_workload(self) -> FakeEngine:
                return engine

            def make_goal_state(self) -> FakeGoalState:
                return goal_state

        context = testing.Context(
            CharmUnderTest,
            meta=yaml.safe_load((ROOT / "metadata.yaml").read_text()),
            config=yaml.safe_load((ROOT / "config.yaml").read_text()),
            actions=yaml.safe_load((ROOT / "actions.yaml").read_text()),
            unit_id=unit_id,
        )
        placeholder = tmp_path / "raftkv.tar.gz"
        placeholder.touch()
        return Bench(engine, goal_state, context, placeholder)

    return make


def peer_bag(state: testing.State) -> dict[str, str]:
    return dict(state.get_relations("cluster")[0].local_unit_data)


def app_bag(state: testing.State) -> dict[str, str]:
    return dict(state.get_relations("cluster")[0].local_app_data)
