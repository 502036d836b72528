relation 4 agents moss
member 4 moss/0 1
run
    deploy charm
    install
    agents-relation-created
    leader-settings-changed
    config-changed
    start
    agents-relation-joined moss/0
    agents-relation-changed moss/0
life dying
gone 4 moss/0
run
    agents-relation-departed moss/0 (ledger/1 leaves)
    agents-relation-broken
    stop
    remove
    dead
