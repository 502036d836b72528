"""``raftkvctl``: etcdctl's grammar in both API modes, and offline commands."""
