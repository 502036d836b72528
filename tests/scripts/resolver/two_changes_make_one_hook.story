run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
config second
config third
run
    config-changed
