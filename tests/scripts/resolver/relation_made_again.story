# A relation that was removed and made again is another one, with its own created.
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
relation 3 dying
run
    feed-relation-departed reader/0 (reader/0 leaves)
    feed-relation-broken
removed 3
relation 8 feed reader
member 8 reader/0 1
run
    feed-relation-created
    feed-relation-joined reader/0
    feed-relation-changed reader/0
