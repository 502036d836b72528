"""The shell script that holds one boot of one machine; written into the machine's directory.

It runs in fresh mount and network namespaces and owns the machine's mounts, its network namespace
and nspawn itself: when it ends all of them are gone. Arguments: machine directory, machine name.
"""

LAUNCH_SCRIPT = r"""set -eu
machine=$1 name=$2
for group in $(cat "$machine/launcher-groups"); do echo $$ > "$group/cgroup.procs" || :; done
mount -t tmpfs -o mode=755 ljj /run
mkdir -p /run/systemd/nspawn
while read -r lower upper work target; do
    mount -t overlay ljj -o "lowerdir=$lower,upperdir=$upper,workdir=$work" "$target"
done < "$machine/overlays"
echo mounted
read -r go
code=0
# shellcheck disable=SC2016
sh -c 'for group in $(cat "$1/box-groups"); do echo $$ > "$group/cgroup.procs" || :; done
    machine=$1 name=$2 network=$3
    shift 3
    exec systemd-nspawn --quiet --register=no --keep-unit --boot --directory="$machine/root" \
        --machine="$name" --network-namespace-path="$network" --capability=CAP_NET_ADMIN \
        --console=pipe --resolv-conf=off --timezone=off --link-journal=no "$@"' \
    sh "$machine" "$name" "/proc/$$/ns/net" $(cat "$machine/binds") < /dev/null || code=$?
echo "$code" > "$machine/exit"
exit "$code"
"""
