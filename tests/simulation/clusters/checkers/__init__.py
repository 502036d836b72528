"""One file per property. Checkers watch; they never influence a run."""
