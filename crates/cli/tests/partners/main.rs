//! conex among real partners: registries, copiers, builders, engines and runtimes that others
//! wrote, on the root file system of a real Debian. A case whose partners are not installed is
//! shown as ignored; with `CI=true` it fails. `scripts/install-partners` installs all of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests stop at the first surprise, and run programs"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../../../spec/tests/lint/documents.rs"]
mod lint_documents;

mod access;
mod archives;
mod buildah;
mod debian;
mod docker;
mod docker_registry;
mod fixture;
mod homes;
mod layers;
mod logins;
mod many;
mod oras;
mod podman;
mod registries;
mod runtime;
mod schemas;
mod skopeo;
mod templates;
mod umoci;
mod wordpress;

use std::process::ExitCode;

use schemas::{SCHEMAS, VALIDATOR};
use support::case::{Case, ROOT};

const CASES: &[Case] = cases! {
    support::tree::sees_every_difference;
    // The content is made while other cases run.
    wordpress::only_missing_layers_are_pulled, needs ROOT "debootstrap" "mount";
    wordpress::the_page_says_what_happens, needs ROOT "debootstrap" "mount" "docker-registry";
    debian::unpacked_is_what_was_packed, needs ROOT "debootstrap" "tar" "zstd" "setcap";
    debian::a_second_pull_moves_what_changed, needs ROOT "debootstrap" "tar" "zstd" "setcap";
    docker_registry::pulls_what_skopeo_pushed, needs ROOT "docker-registry" "skopeo" "debootstrap" "tar" "zstd" "setcap";
    docker_registry::logs_in_from_docker_config, needs "docker-registry" "skopeo";
    docker_registry::a_wrong_password_names_the_credential, needs "docker-registry";
    oras::each_pulls_what_the_other_pushed, needs "oras";
    oras::each_discovers_what_the_other_attached, needs "oras";
    oras::files_with_several_names_come_to_oras, needs "oras";
    registries::one_configuration_for_conex_and_skopeo, needs "docker-registry" "skopeo";
    access::skopeo_and_podman_may_what_the_rules_say, needs "skopeo" "podman";
    access::conex_may_what_the_rules_say;
    logins::reads_the_login_of_skopeo, needs "docker-registry" "skopeo";
    logins::reads_the_login_of_podman, needs "docker-registry" "podman";
    logins::others_use_its_login, needs "docker-registry" "skopeo" "podman";
    skopeo::pulls_what_conex_pushed, needs ROOT "skopeo" "debootstrap" "tar" "zstd" "setcap";
    skopeo::copies_an_index, needs "skopeo";
    skopeo::copies_artifacts_back, needs "skopeo";
    templates::podman_prints_the_same, needs "podman";
    templates::podman_inspects_the_same, needs ROOT "podman";
    templates::skopeo_prints_the_same, needs "skopeo";
    podman::starts_what_conex_pushed, needs ROOT "podman" "runc" "debootstrap" "tar" "zstd" "setcap";
    docker::starts_what_conex_pushed, needs ROOT "dockerd" "docker" "debootstrap" "tar" "zstd" "setcap";
    docker::pushed_comes_back_byte_for_byte, needs ROOT "dockerd" "docker" "skopeo" "debootstrap" "tar" "zstd" "setcap";
    docker::unpacked_as_umoci_does, needs ROOT "dockerd" "docker" "skopeo" "umoci" "debootstrap" "tar" "zstd" "setcap";
    buildah::pushed_comes_back_byte_for_byte, needs ROOT "buildah" "skopeo" "debootstrap" "tar" "zstd" "setcap";
    buildah::unpacked_as_umoci_does, needs ROOT "buildah" "umoci" "debootstrap" "tar" "zstd" "setcap";
    umoci::unpacks_what_conex_packed, needs ROOT "umoci" "debootstrap" "tar" "zstd" "setcap";
    layers::tar_reads_them_all, needs ROOT "debootstrap" "tar" "gzip" "zstd" "setcap";
    layers::docker_sees_them_all, needs ROOT "dockerd" "docker" "debootstrap" "tar" "zstd" "setcap";
    layers::umoci_unpacks_what_conex_repacked, needs ROOT "umoci" "debootstrap" "tar" "zstd" "setcap";
    umoci::unpacked_as_umoci_does, needs ROOT "umoci" "debootstrap" "tar" "zstd" "setcap";
    runtime::runc_starts_a_bundle, needs ROOT "runc" "debootstrap" "tar" "zstd" "setcap";
    runtime::crun_starts_a_bundle, needs ROOT "crun" "unshare" "debootstrap" "tar" "zstd" "setcap";
    runtime::runc_starts_a_bundle_without_root, needs ROOT "runc" "setpriv" "debootstrap" "tar" "zstd" "setcap";
    schemas::agree_with_the_lint, needs "python3" SCHEMAS VALIDATOR;
    archives::skopeo_and_umoci_read_and_write_them, needs "skopeo" "umoci" "tar" "gzip";
    archives::docker_saves_and_loads_them, needs ROOT "dockerd" "docker" "tar";
    archives::podman_saves_and_loads_them, needs ROOT "podman" "tar";
    archives::standard_streams_hold_archives, needs "tar";
    homes::four_tools_on_a_folder, needs ROOT "skopeo" "podman" "buildah" "dockerd" "docker";
    homes::four_tools_on_a_bucket, needs ROOT "skopeo" "podman" "buildah" "dockerd" "docker" "moto_server";
    homes::four_tools_on_a_layout, needs ROOT "skopeo" "podman" "buildah" "dockerd" "docker";
    many::two_thousand_slow_clients;
    many::sixteen_copies_into_one_layout;
    many::sixteen_pulls_into_one_store;
};

fn main() -> ExitCode {
    support::case::main(CASES)
}
