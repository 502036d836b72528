"""The write-ahead log: files that hold the Raft log, the term, the vote and the commit index.

``record`` knows bytes, ``segment`` one file, ``wal`` the directory.
"""
