"""From hooks to facts, and from a plan back to Juju. The only room that knows `ops`."""
