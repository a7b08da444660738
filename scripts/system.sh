#!/bin/sh
# system.sh COMMAND...: see that commands of the system's packages are there; install what is missing if we may.
# An argument package:NAME asks for a package by its name.
set -eu

say() { printf '%s\n' "$*" >&2; }

missing=
for wanted in "$@"; do
    case $wanted in
        package:*) missing="$missing ${wanted#package:}"; continue ;;
        mosquitto_sub) package=mosquitto-clients ;;
        influxd) package=influxdb ;;
        cc) package="gcc libc6-dev" ;;
        postgres) # Debian keeps it out of every PATH, in a folder for each version
            for there in /usr/lib/postgresql/*/bin/postgres; do test ! -x "$there" || continue 2; done
            package=postgresql ;;
        *) package=$wanted ;;
    esac
    command -v "$wanted" >/dev/null || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

by_hand="apt-get install --no-install-recommends$missing"
if ! command -v apt-get >/dev/null; then
    say "Please install with this system's package manager:$missing (names as in Debian)"
    exit 1
elif [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    say "Please run: sudo $by_hand"
    exit 1
fi

# Debian's server packages start their service when they are installed and at every boot: InfluxDB
# and VictoriaMetrics would then listen on all interfaces without a password. Nothing here needs
# them, nor a PostgreSQL on 5432: each program and test starts its own server on a free port of 127.0.0.1. So systemd gets a
# mask for them while dpkg works, and leaves them disabled. The mask lies in /run, where a reboot
# wipes it whatever happens; a service that this machine has already is not touched.
hold=
if [ -d /run/systemd/system ]; then
    for package in $missing; do
        case $package in
            mosquitto | nats-server | influxdb | victoria-metrics | postgresql)
                systemctl cat "$package.service" >/dev/null 2>&1 || hold="$hold $package.service" ;;
        esac
    done
fi
release() {
    if [ -n "$hold" ]; then
        $as_root systemctl --quiet --runtime unmask $hold
        $as_root systemctl --quiet disable $hold
        hold=
    fi
}

log=$(mktemp)
trap 'release >/dev/null 2>&1 || true; rm -f "$log"' EXIT
trap 'exit 130' INT TERM

install() {
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing </dev/null >"$log" 2>&1
}

say "Installing from the system's packages:$missing ..."
if [ -n "$hold" ]; then $as_root systemctl --quiet --runtime mask $hold 2>/dev/null; fi
if ! install; then # the package lists may be old or absent
    $as_root apt-get update -qq >"$log" 2>&1 || true
    if ! install; then
        grep '^E:' "$log" >&2 || tail -n 3 "$log" >&2
        say "Could not install them; please run: $by_hand"
        exit 1
    fi
fi
