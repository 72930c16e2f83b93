#!/bin/sh
# Names the tools that are missing, one line each with how to get it. The only list of them: `make` asks it before anything is
# built, and the testbed before it builds its servers. `tools.sh image` names what `make image` needs. Plain sh, because nothing
# else may be there yet.
ok=1
complain() {
  echo "$1" >&2
  ok=0
}
need() {
  command -v "$1" >/dev/null 2>&1 || complain "missing: $1. Get $2"
}
need cargo "Rust: https://rustup.rs"
need go "Go 1.26 or newer: https://go.dev/dl"
if [ "${1:-}" = image ]; then
  need rustup "Rust by rustup, for another target: https://rustup.rs"
  need git "Git: apt-get install git"
  python3 -m pip --version >/dev/null 2>&1 || complain "missing: pip. Get Python and pip: apt-get install python3-pip"
else
  need javac "a JDK, 17 or newer: apt-get install openjdk-17-jdk-headless"
  need mvn "Maven: apt-get install maven"
fi
need cc "a C compiler: apt-get install gcc"
need c++ "a C++ compiler: apt-get install g++"
need make "make: apt-get install make"
need perl "Perl: apt-get install perl"
if command -v perl >/dev/null 2>&1; then
  perl -MFindBin -MIPC::Cmd -MTime::Piece -e 1 2>/dev/null ||
    complain "missing: the modules of perl, for OpenSSL. Get the whole Perl: apt-get install perl"
fi
jdk=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
[ "${jdk:-17}" -ge 17 ] || complain "too old: javac $jdk. Get a JDK, 17 or newer: apt-get install openjdk-17-jdk-headless"
[ "$ok" = 1 ]
