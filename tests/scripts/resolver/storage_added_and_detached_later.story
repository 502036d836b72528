run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
storage data/0
run
    data-storage-attached
storage data/0 dying
run
    data-storage-detaching
