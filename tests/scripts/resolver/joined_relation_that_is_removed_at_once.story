# The changed that joined owes comes first, even when relation and unit are already going.
relation 3 feed reader
relation 0 ring peer
run
    deploy charm
    install
    ring-relation-created
    feed-relation-created
    leader-settings-changed
    config-changed
    start
member 3 reader/0 1
member 0 ledger/0 1
step
    feed-relation-joined reader/0
relation 3 dying
life dying
run
    feed-relation-changed reader/0
    feed-relation-departed reader/0 (ledger/1 leaves)
    feed-relation-broken
    stop
    remove
    dead
