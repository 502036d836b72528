# A relation on juju-info is entered and left without a word to the charm.
relation 3 juju-info moss implicit
member 3 moss/0 1
run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
member 3 moss/0 2
app-data 3 1
run
relation 3 dying
run
removed 3
run
