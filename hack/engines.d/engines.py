"""The engines: how each is opened, and which functions are its actions."""

from collections import namedtuple

import buildah
import cli
import containerd_cri
import ctr
import ctr_user
import crio
import docker
import files
import identities
import life
import podman
import sharing
import terminals
import worlds

# `opened(place, manager, verbose)` is a context manager that yields what the functions take.
Engine = namedtuple("Engine", "title account opened tests versions")

SHARED = {
    "run": [life.run_shows_what_the_payload_prints, life.run_gives_its_standard_input_to_the_payload],
    "exec": [life.exec_runs_beside_the_payload, life.exec_takes_user_folder_and_environment, life.exec_in_the_background_goes_on],
    "tty": [terminals.a_shell_on_a_terminal, terminals.exec_on_a_terminal, cli.resize,
            terminals.interrupt_typed_on_a_terminal_reaches_the_payload],
    "attach": [cli.attach],
    "detach and reattach": [cli.attach_leave_and_come_back],
    "logs": [life.a_detached_container_has_logs_and_a_status, life.logs_follow_a_running_container],
    "stats": [cli.stats_show_use_and_limit],
    "top": [cli.top_shows_the_processes],
    "limits": [cli.limits_are_in_force],
    "update": [cli.update_changes_limits],
    "pause": [cli.pause_freezes],
    "kill": [life.kill_sends_the_signal, life.kill_ends_a_container_and_wait_says_137],
    "stop": [life.stop_asks_first, life.stop_kills_what_does_not_listen],
    "restart": [life.restart_makes_a_new_process_of_the_same_container, life.a_container_restarts_by_its_policy],
    "delete": [cli.delete_by_force_leaves_nothing],
    "cp": [files.cp_copies_in_and_out],
    "volumes": [files.a_volume_of_the_host_is_read_and_written, files.a_read_only_volume_cannot_be_written,
                files.a_named_volume_takes_the_images_files_and_stays, files.a_tmpfs_has_size_and_mode],
    "shared namespaces": [cli.namespaces_of_another_container],
    "network": [worlds.published_port_answers],
    "confinement": [cli.confined],
    "privileged": [cli.privileged_mounts],
    "build": [cli.steps_of_an_image],
    "status of the payload": [cli.payloads_status],
    "status 128+n": [cli.killed_by_a_signal],
    "status 125": [cli.refused_by_the_runtime],
    "status 126": [cli.not_executable_is_126],
    "status 127": [cli.not_found_is_127],
    "out of memory": [cli.out_of_memory],
    "30 at once": [cli.thirty_at_once],
    "iptables": [worlds.iptables_wants_net_admin],
    "own binary": [cli.own_binary_is_never_written],
    "checkpoint": [worlds.checkpoint],
}  # fmt: skip

PODMAN = SHARED | {
    "healthcheck": [life.a_health_check_sees_health_and_illness],
    "idmapped volume": [worlds.idmapped_volume],
    "user namespace": [identities.maps_by_number, identities.an_automatic_user_namespace],
    "pods": [sharing.two_containers_in_a_pod_share_what_pods_share, sharing.a_pod_stops_starts_and_pauses_as_one],
    "low ports": [worlds.port_80_is_for_who_may],
    "nested": [worlds.podman_in_podman],
}

DOCKER = SHARED | {
    "features": [docker.features_are_known],
    "healthcheck": [cli.health_by_interval],
    "time namespace": [docker.time_namespace],
}
MAPPED = DOCKER | {"user namespace": [cli.a_user_namespace_for_all]}


def dockerd(mode):
    return lambda place, manager, verbose: docker.opened(place, mode, manager, verbose)


ENGINES = {
    "podman-root": Engine("podman as root", "root", podman.opened, PODMAN, podman.versions),
    "podman-user": Engine("podman as an ordinary user", "user", podman.opened, PODMAN, podman.versions),
    "docker": Engine("docker", "root", dockerd("root"), DOCKER, docker.versions),
    "docker-remap": Engine("docker with userns-remap", "root", dockerd("remap"), MAPPED, docker.versions),
    "docker-rootless": Engine("rootless docker", "user", dockerd("rootless"), MAPPED, docker.versions),
    "ctr": Engine("containerd by ctr", "root", ctr.opened, ctr.TESTS, ctr.versions),
    "ctr-user": Engine("containerd by ctr as an ordinary user", "user", ctr_user.opened, ctr.TESTS, ctr.versions),
    "cri": Engine("containerd by its CRI", "root", containerd_cri.opened, containerd_cri.TESTS, ctr.versions),
    "cri-o": Engine("CRI-O's calls, replayed", "root", crio.opened, crio.TESTS, crio.versions),
    "buildah-root": Engine("buildah as root", "root", buildah.opened, buildah.TESTS, buildah.versions),
    "buildah-user": Engine("buildah as an ordinary user", "user", buildah.opened, buildah.TESTS, buildah.versions),
}
