run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
status-due
config second
run
    config-changed
    update-status
