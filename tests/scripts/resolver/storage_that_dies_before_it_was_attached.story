run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
storage data/0 pending
run
storage data/0 dying
run
