# Sourced by scripts/image-test: the image by a Docker engine.
# shellcheck shell=bash disable=SC2154  # image and work are the caller's

prepare_engine() { install_packages openssl curl; }

build_image() {
  docker build --tag "$image" --build-arg MODELS=samples . || die "docker could not build the image"
}

image_size() { docker images --format '{{.Size}}' "$image"; }

# Runs a command of the image: options of docker, then `--`, then arguments.
run_image() {
  local options=()
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  shift
  docker run --rm --read-only --tmpfs /tmp --network host --volume "$work:/files" "${options[@]}" "$image" "$@"
}

start_server() {
  container=$(docker run --detach --read-only --tmpfs /tmp --network host --volume "$work:/files:ro" "$image" serve "$@")
}

exec_in_server() { docker exec "$container" "$@"; }

server_is_alive() { [[ $(docker inspect --format '{{.State.Running}}' "$container") == true ]]; }

root_is_read_only() { [[ $(docker inspect --format '{{.HostConfig.ReadonlyRootfs}}' "$container") == true ]]; }

terminate_server() { docker kill --signal TERM "$container" >/dev/null; }

# The server's own exit code.
wait_for_server() { return "$(docker wait "$container")"; }

# What is stopped can still be asked for its code.
stop_server() {
  [[ -z $container ]] || docker rm --force "$container" >/dev/null
}

# Its containers remove themselves.
remove_containers() { :; }

remove_image() { docker rmi "$image" >/dev/null; }
