# The owner is asked for a new revision; what ran is not asked for again.
run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
secret rotate abc 0
secret expired xyz 3
run
    secret-rotate
    secret-expired
secret expired xyz 4
run
    secret-expired
