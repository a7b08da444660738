#!/bin/sh
# venv.sh EXTRA [FOLDER]: make FOLDER (.venv) and install this checkout with an extra (demo or dev) into it.
# Silent when nothing has changed: the stamp holds what was installed and from where.
# PYTHON names the interpreter; without it the system's own is taken if it is new enough.
set -eu
cd "$(dirname "$0")/.."
extra=$1
venv=${2:-.venv}
here=$(pwd -P)
# Two targets of make may run beside each other: the second waits for the first.
if [ -z "${SHUICHI_VENV_LOCKED:-}" ] && command -v flock >/dev/null; then
    SHUICHI_VENV_LOCKED=1 exec flock $venv.lock "$here/scripts/venv.sh" "$@"
fi
wanted="$here $(cat pyproject.toml constraints.txt | cksum)"

say() { printf '%s\n' "$*" >&2; }

is_new_enough() { # an answer of the interpreter, for a shim on PATH may stand for nothing
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

can_make_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

venv_package() { # Debian keeps venv in a package of its own, one a version
    "$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
}

find_python() {
    # The system's own is the reference: it is what a gateway has.
    if [ -z "${PYTHON:-}" ] && is_new_enough /usr/bin/python3; then
        can_make_venv /usr/bin/python3 || scripts/system.sh "package:$(venv_package /usr/bin/python3)" || true
        if can_make_venv /usr/bin/python3; then echo /usr/bin/python3; return; fi
    fi
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if is_new_enough "$candidate" && can_make_venv "$candidate"; then echo "$candidate"; return; fi
    done
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if is_new_enough "$candidate"; then
            scripts/system.sh "package:$(venv_package "$candidate")" || exit 1
            if can_make_venv "$candidate"; then echo "$candidate"; return; fi
        fi
    done
    say "Python 3.11 or newer with its venv module is needed: install python3 and python3-venv, or set PYTHON=/path/to/python3"
    exit 1
}

# It holds its own path in each script: one that was moved or copied is made again.
if $venv/bin/python -c '' 2>/dev/null && grep -qF "$here/$venv" $venv/bin/activate; then
    for stamp in "$venv/.installed-$extra" $venv/.installed-dev; do # dev holds all that demo holds
        if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
    done
else
    python=$(find_python)
    "$python" -m venv --clear "$venv"
fi

say "Installing shuichi[$extra] into $venv (about a minute the first time) ..."
rm -f $venv/.installed-*
$venv/bin/python -m pip --disable-pip-version-check install -qq --editable ".[$extra]" --constraint constraints.txt
echo "$wanted" > "$venv/.installed-$extra"
