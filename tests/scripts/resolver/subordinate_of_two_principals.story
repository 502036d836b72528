# One of two container relations goes: the unit stays while another binds it.
relation 1 host barge
relation 5 logs barge
member 1 barge/0 1
member 5 barge/0 1
run
    deploy charm
    install
    host-relation-created
    logs-relation-created
    leader-settings-changed
    config-changed
    start
    host-relation-joined barge/0
    host-relation-changed barge/0
    logs-relation-joined barge/0
    logs-relation-changed barge/0
relation 5 dying
run
    logs-relation-departed barge/0 (barge/0 leaves)
    logs-relation-broken
removed 5
config second
run
    config-changed
