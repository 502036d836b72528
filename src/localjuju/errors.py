"""The errors that reach a person or a charm; everything else is a defect and propagates."""


class JujuError(Exception):
    """A request that cannot be carried out; shown as ``ERROR <text>`` with exit status 1."""

    exit_status = 1


class UsageError(JujuError):
    """A command line that cannot be understood; exit status 2."""

    exit_status = 2


class Refused(JujuError):  # noqa: N818  # reads as what happened
    """This machine lacks a right or a package that real machines need."""


class MachineGone(JujuError):  # noqa: N818  # reads as what happened
    """The machine stopped while something was running on it."""


class UnitGone(JujuError):  # noqa: N818  # reads as what happened
    """The unit was taken out of the model while something of it was running."""

    def __init__(self, name: str) -> None:
        super().__init__(f'unit "{name}" not found')
