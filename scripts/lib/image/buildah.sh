# Sourced by scripts/image-test: the image by buildah, where there is no Docker engine. Its
# containers share the host's network and see a root of their own; what is read-only is not
# enforced here, but the image's user may not write there.
# shellcheck shell=bash disable=SC2154  # image and work are the caller's

buildah=(buildah --storage-driver vfs)
containers_before=
base=localhost/debian:bookworm
rust=localhost/rust:host
server=

build_image() {
  install_packages buildah debootstrap openssl curl
  # Layers by overlay where the kernel lets us; else full copies, which take some 30 GB.
  if buildah --storage-driver overlay info >/dev/null 2>&1; then buildah=(buildah --storage-driver overlay); fi
  containers_before=$("${buildah[@]}" containers --quiet)
  make_base
  make_rust
  # The host's certificate authorities: a proxy between here and the registries has its own.
  # CARGO_BUILD_JOBS of the caller keeps cores free on a machine that has other work.
  "${buildah[@]}" bud --isolation chroot --network host --layers=false --tag "$image" \
    --volume /etc/ssl/certs/ca-certificates.crt:/opt/authorities.crt:ro --env CARGO_HTTP_CAINFO=/opt/authorities.crt \
    ${CARGO_BUILD_JOBS:+--env "CARGO_BUILD_JOBS=$CARGO_BUILD_JOBS"} \
    --build-arg BASE_IMAGE="$base" --build-arg RUST_IMAGE="$rust" --build-arg MODELS=samples . >"$work/build.log" 2>&1 || {
    tail -n 40 "$work/build.log" >&2
    die "buildah could not build the image"
  }
}

has_image() { "${buildah[@]}" images --quiet "$1" >/dev/null 2>&1; }

# Debian as the registry's image has it, from the mirror that this machine uses.
make_base() {
  ! has_image "$base" || return 0
  say "making a base image by debootstrap"
  local root=$work/root name
  quietly as_root debootstrap --variant=minbase bookworm "$root" || die "debootstrap failed (see above)"
  as_root cp --recursive /etc/apt/sources.list.d /etc/apt/apt.conf.d "$root/etc/apt/"
  # The sources are now those of the host, and none twice.
  [[ -e /etc/apt/sources.list ]] || as_root rm -f "$root/etc/apt/sources.list"
  name=$("${buildah[@]}" from scratch)
  as_root tar --create --directory "$root" --file "$work/root.tar" .
  quietly "${buildah[@]}" add "$name" "$work/root.tar" / || die "the base image could not be made (see above)"
  quietly "${buildah[@]}" commit --rm "$name" "$base" || die "the base image could not be made (see above)"
  as_root rm -rf "$root" "$work/root.tar"
}

# The host's Rust toolchain, where the registry's image would have it.
make_rust() {
  ! has_image "$rust" || return 0
  say "making an image of the Rust toolchain"
  local name part
  name=$("${buildah[@]}" from "$base")
  for part in bin lib; do
    quietly "${buildah[@]}" copy "$name" "$(rustc --print sysroot)/$part" "/usr/local/cargo/$part" ||
      die "the toolchain could not be copied (see above)"
  done
  quietly "${buildah[@]}" run --isolation chroot "$name" -- mkdir -p /usr/local/rustup
  quietly "${buildah[@]}" commit --rm "$name" "$rust" || die "the image of the toolchain could not be made (see above)"
}

# Runs a command of the image: --env and --entrypoint as docker has them, then `--`, then arguments.
run_image() {
  local options=() entrypoint=rscore name status=0
  while [[ $1 != -- ]]; do
    if [[ $1 == --entrypoint ]]; then entrypoint=$2; else options+=("$1" "$2"); fi
    shift 2
  done
  shift
  name=$("${buildah[@]}" from "$image")
  "${buildah[@]}" run --isolation chroot --network host --volume "$work:/files" "${options[@]}" "$name" -- \
    "$entrypoint" "$@" || status=$?
  "${buildah[@]}" rm "$name" >/dev/null
  return "$status"
}

start_server() {
  container=$("${buildah[@]}" from "$image")
  "${buildah[@]}" run --isolation chroot --network host --volume "$work:/files:ro" "$container" -- \
    rscore serve "$@" >"$work/server.log" 2>&1 &
  server=$!
}

exec_in_server() { "${buildah[@]}" run --isolation chroot --network host "$container" -- "$@"; }

server_is_alive() { kill -0 "$server" 2>/dev/null; }

# The signal goes to rscore itself, as an engine would send it, not to buildah around it.
terminate_server() {
  local child=$server children
  while [[ $(cat "/proc/$child/comm") != rscore ]]; do
    read -ra children <"/proc/$child/task/$child/children"
    [[ ${#children[@]} -gt 0 ]] || die "there is no server below process $server"
    child=${children[0]}
  done
  kill -TERM "$child"
}

wait_for_server() {
  local status=0
  wait "$server" || status=$?
  server=
  return "$status"
}

stop_server() {
  [[ -z $server ]] || terminate_server
}

# The image, and the containers of this run: a build that failed leaves some behind.
remove_image() {
  local name
  for name in $("${buildah[@]}" containers --quiet); do
    [[ $containers_before == *"$name"* ]] || "${buildah[@]}" rm "$name" >/dev/null
  done
  "${buildah[@]}" rmi "$image" >/dev/null
}
