# The principal hears of its subordinate as of any other unit, and lets it go before it stops.
relation 4 agents moss
run
    deploy charm
    install
    agents-relation-created
    leader-settings-changed
    config-changed
    start
member 4 moss/0 1
run
    agents-relation-joined moss/0
    agents-relation-changed moss/0
life dying
run
    agents-relation-departed moss/0 (ledger/1 leaves)
    agents-relation-broken
    stop
    remove
    dead
