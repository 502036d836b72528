run
    deploy charm
    install
    leader-settings-changed
    config-changed
    start
reboot
config second
run
    start
    config-changed
