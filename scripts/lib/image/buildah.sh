# Sourced by scripts/image-test: the image by buildah, where there is no Docker engine. Its
# containers share the host's network and see a root of their own.
# shellcheck shell=bash disable=SC2154  # image and work are the caller's

buildah=(buildah --storage-driver vfs)
containers_before=
images_before=
base=localhost/debian:bookworm
rust=localhost/rust:host
server=

prepare_engine() {
  install_packages buildah debootstrap openssl curl
  # Layers by overlay where the kernel lets us; else full copies, which take some 30 GB.
  if buildah --storage-driver overlay info >/dev/null 2>&1; then buildah=(buildah --storage-driver overlay); fi
  containers_before=$("${buildah[@]}" containers --quiet)
}

build_image() {
  make_base
  make_rust
  images_before=$("${buildah[@]}" images --quiet)
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

image_size() { "${buildah[@]}" images --format '{{.Size}}' "$image"; }

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

# buildah's own `run` has no read-only root: here it is made by hand, as an engine does it for
# --read-only --tmpfs /tmp. Every program takes the place of the one before, so that the server's
# process is the one that was started.
start_server() {
  local root user environment
  container=$("${buildah[@]}" from "$image")
  root=$("${buildah[@]}" mount "$container")
  user=$(inspect '{{.OCIv1.Config.User}}')
  mapfile -t environment < <(inspect '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' | grep .)
  mkdir -p "$root/files"
  # shellcheck disable=SC2016  # the variables are the inner shell's
  unshare --mount bash -c '
    set -e
    root=$1 files=$2 user=$3
    shift 3
    mount --bind "$root" "$root"
    mount --bind "$files" "$root/files"
    mount -o remount,bind,ro "$root/files"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -o remount,bind,ro "$root"
    exec chroot --userspec="$user" "$root" env --ignore-environment --chdir=/tmp "$@"
  ' start "$root" "$work" "$user" "${environment[@]}" rscore serve "$@" >"$work/server.log" 2>&1 &
  server=$!
}

inspect() { "${buildah[@]}" inspect --format "$1" "$container"; }

exec_in_server() { "${buildah[@]}" run --isolation chroot --network host "$container" -- "$@"; }

server_is_alive() { kill -0 "$server" 2>/dev/null; }

root_is_read_only() { awk '$5 == "/" { options = $6 } END { exit options !~ /^ro/ }' "/proc/$server/mountinfo"; }

terminate_server() { kill -TERM "$server"; }

wait_for_server() {
  local status=0
  wait "$server" || status=$?
  server=
  return "$status"
}

stop_server() {
  [[ -z $server ]] || { terminate_server && wait_for_server; }
}

# The containers of this run: a build that failed leaves some behind, too.
remove_containers() {
  local name
  for name in $("${buildah[@]}" containers --quiet); do
    [[ $containers_before == *"$name"* ]] || "${buildah[@]}" rm "$name" >/dev/null
  done
}

# The image and those of its stages; what it was built from stays, for the next time.
remove_image() {
  local name
  for name in $("${buildah[@]}" images --quiet); do
    [[ $images_before == *"$name"* ]] || "${buildah[@]}" rmi "$name" >/dev/null
  done
}
