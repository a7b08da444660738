#!/bin/sh
# newest-python.sh: print the newest Python on this machine that is newer than the one in .venv, if
# there is one. Looks on PATH and where pyenv keeps its versions.
set -eu
cd "$(dirname "$0")/.."

minor() { "$1" -c 'import ensurepip, sys, venv; print(sys.version_info.minor)' 2>/dev/null || echo 0; }

newest=
best=$(minor .venv/bin/python)
for candidate in python3.14 python3.13 python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python3; do
    found=$(minor "$candidate")
    if [ "$found" -gt "$best" ]; then best=$found newest=$candidate; fi
done
echo "$newest"
