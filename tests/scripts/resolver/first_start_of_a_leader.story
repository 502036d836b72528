# Storage comes before install, which waits for all of it; relations are created before leadership.
relation 0 ring peer
relation 3 feed reader
storage data/0 pending
leader yes
run
    deploy charm
storage data/0
run
    data-storage-attached
    install
    ring-relation-created
    feed-relation-created
    leader-elected
    config-changed
    start
