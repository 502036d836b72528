relation 3 feed reader
member 3 reader/0 1
run
    deploy charm
    install
    feed-relation-created
    leader-settings-changed
    config-changed
    start
    feed-relation-joined reader/0
    feed-relation-changed reader/0
app dying
relation 3 dying
run
    feed-relation-departed reader/0 (ledger/1 leaves)
    feed-relation-broken
