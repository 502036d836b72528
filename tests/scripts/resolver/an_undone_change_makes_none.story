run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
config second
config first
run
