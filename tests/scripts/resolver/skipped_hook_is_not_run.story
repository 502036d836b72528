fail install
run
    deploy charm
    install fails
skip
run
    skip install
    leader-settings-changed
    config-changed
    start
