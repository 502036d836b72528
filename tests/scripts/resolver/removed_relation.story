relation 3 feed reader
member 3 reader/0 1
member 3 reader/1 1
run
    deploy charm
    install
    feed-relation-created
    leader-settings-changed
    config-changed
    start
    feed-relation-joined reader/0
    feed-relation-changed reader/0
    feed-relation-joined reader/1
    feed-relation-changed reader/1
relation 3 dying
run
    feed-relation-departed reader/0 (reader/0 leaves)
    feed-relation-departed reader/1 (reader/1 leaves)
    feed-relation-broken
removed 3
run
