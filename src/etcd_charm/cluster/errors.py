"""The two failures that a charm may answer with a status. Anything else is a hook error."""


class CharmError(Exception):
    """Base of the failures that the charm knows how to report."""


class Retry(CharmError):  # noqa: N818 - it asks for something rather than naming a defect
    """A short-lived obstacle: the hook ends well, the unit waits, a timer brings it back."""


class NeedsOperator(CharmError):  # noqa: N818 - named after what it asks for
    """Only a human can go on; the message says what to do and becomes a `blocked` status."""
