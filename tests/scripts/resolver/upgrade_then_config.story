run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
charm newer
run
    deploy newer
    upgrade-charm
    config-changed
