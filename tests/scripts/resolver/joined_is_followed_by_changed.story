# Even if nobody wrote, and data that moved in between is delivered by that same changed.
relation 3 feed reader
run
    deploy charm
    install
    feed-relation-created
    leader-settings-changed
    config-changed
    start
member 3 reader/0 1
run
    feed-relation-joined reader/0
    feed-relation-changed reader/0
member 3 reader/0 4
run
    feed-relation-changed reader/0
