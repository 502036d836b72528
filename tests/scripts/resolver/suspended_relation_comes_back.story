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
relation 3 suspended
run
    feed-relation-departed reader/0 (reader/0 leaves)
    feed-relation-broken
relation 3 resumed
run
    feed-relation-created
    feed-relation-joined reader/0
    feed-relation-changed reader/0
