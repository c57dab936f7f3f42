#!/usr/bin/env bash
# Pin every third-party dependency by version and hash, for Python 3.11 to 3.13: `make lock`.
# The images have all extras: what a setting can ask for is there.
# The images' pins are constrained by the development pins, so tests and images run the same code.
set -euo pipefail
cd "$(dirname "$0")/.."

own=()
for project in packages/*/pyproject.toml operator/pyproject.toml images/*/pyproject.toml cli/pyproject.toml; do
  own+=(--no-emit-package "$(sed -n 's/^name = "\(.*\)"/\1/p' "$project" | head -1)")
done
own+=(--no-emit-package muster-native --no-emit-package muster-front \
  --no-emit-package muster-records)

pin() { # OUT INPUT...
  local out=$1; shift
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate "${own[@]}" --output-file "$out" "$@"
}

pin requirements/dev.txt --all-extras requirements/dev.in packages/*/pyproject.toml operator/pyproject.toml images/*/pyproject.toml cli/pyproject.toml
for image in operator images/coordinator images/worker; do
  pin "requirements/$(basename "$image").txt" --all-extras --constraint requirements/dev.txt "$image/pyproject.toml"
done
