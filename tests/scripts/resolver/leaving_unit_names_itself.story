# Storage detaches first; peers get departed but never broken.
relation 0 ring peer
relation 3 feed reader
member 0 ledger/0 1
member 3 reader/0 1
storage data/0
run
    deploy charm
    data-storage-attached
    install
    ring-relation-created
    feed-relation-created
    leader-settings-changed
    config-changed
    start
    feed-relation-joined reader/0
    feed-relation-changed reader/0
    ring-relation-joined ledger/0
    ring-relation-changed ledger/0
life dying
run
    data-storage-detaching
    feed-relation-departed reader/0 (ledger/1 leaves)
    feed-relation-broken
    ring-relation-departed ledger/0 (ledger/1 leaves)
    stop
    remove
    dead
