# Sourced by the other scripts: packages and the virtual environment of the checkout.
# Debian or Ubuntu; apt is only asked for what is missing, as root or through sudo.

root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/.venv

bold='' plain=''
[ ! -t 2 ] || { bold=$(printf '\033[1m') plain=$(printf '\033[0m'); }
say() { printf '%s== %s%s\n' "$bold" "$*" "$plain" >&2; }

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || fail "this needs Linux on x86-64"

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "$(basename "$0"): neither root nor sudo: cannot run: $*" >&2
        return 1
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q ' installed$'
}

missing() {
    for package in "$@"; do
        installed "$package" || printf '%s ' "$package"
    done
}

# Install what is missing of the named packages.  One that cannot be had does not keep the others away: what is really
# needed is noticed where it is used.
packages() {
    wanted=$(missing "$@")
    [ -n "$wanted" ] || return 0
    command -v apt-get >/dev/null || { echo "no apt-get here; please install: $wanted" >&2; return 0; }
    say "installing $wanted"
    apt_get update || { sleep 15; apt_get update; } || echo "package lists not refreshed; going on with the old ones" >&2
    # shellcheck disable=SC2086
    apt_get install -y --no-install-recommends $wanted && return 0
    for package in $wanted; do
        apt_get install -y --no-install-recommends "$package" || echo "could not install $package" >&2
    done
}

# The newest suitable interpreter's name.
interpreter() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return 0
        fi
    done
    fail "Python 3.11 or later is needed"
}

# Make .venv, if need be, and install the checkout (editable) with the given extras, such as "[test]".
environment() {
    command -v python3 >/dev/null || packages python3
    python=$(interpreter)
    "$python" -c 'import ensurepip' 2>/dev/null || packages python3-venv
    [ -x "$venv/bin/pip" ] || { say "making $venv"; "$python" -m venv --clear "$venv"; }
    say "installing stemrw into $venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -e "$root$1"
    PATH=$venv/bin:$PATH
    export PATH
}
