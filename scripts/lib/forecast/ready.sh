# Sourced by the scripts that run batches: the program, the small models and Azurite are
# there afterwards. With RSCORE=path/of/rscore in the environment nothing is built.
# shellcheck shell=bash

scripts/setup test
if [[ -z ${RSCORE:-} ]]; then
  say "building the release binary"
  cargo build --release --locked --quiet
  # shellcheck disable=SC2154  # common.sh sets it
  RSCORE=$target_dir/release/rscore
fi
scripts/train >/dev/null
export RSCORE TARGET_DIR=$target_dir
