run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
resources 1
run
    upgrade-charm
    config-changed
