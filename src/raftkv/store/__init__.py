"""What the cluster agreed on: the v3 key space and the v2 tree. Pure; it never writes."""
