//! The verbs on names, manifests and blobs, against conex's own registry and docker-registry, and
//! what they leave there.
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

mod artifact;
mod artifact_files;
mod attached;
mod bad_charts;
mod charts;
mod codes;
mod complete;
mod files;
mod names;
mod owners;
mod packing;
mod raw;
mod removal;
mod served;
mod shown;
mod trees;
mod trips;

use std::process::ExitCode;

use support::case::{Case, ROOT};

const CASES: &[Case] = cases! {
    charts::charts_are_pushed_listed_resolved_and_pulled;
    charts::the_tag_of_a_chart_is_that_of_its_version;
    charts::what_is_signed_stays_so;
    bad_charts::a_bad_chart_is_told_and_nothing_reaches_the_registry;
    bad_charts::a_bad_bundle_is_told_and_nothing_reaches_the_registry;
    bad_charts::what_is_meant_is_seen;
    charts::a_bundle_comes_with_its_images;
    charts::a_copy_says_what_it_copied;
    charts::one_version_is_no_range;
    charts::a_chart_is_copied_with_the_images_that_it_names;
    charts::a_chart_is_not_lost_among_its_images;
    charts::an_image_that_is_missing_is_told;
    artifact::files_and_folders_come_back_from_every_place;
    artifact::what_is_attached_is_discovered;
    artifact::attachments_have_attachments;
    artifact::docker_registry_keeps_attachments_under_a_tag, needs "docker-registry";
    artifact::what_is_wrong_is_one_error_and_nothing_is_pushed;
    artifact::a_file_that_changes_meanwhile_is_told;
    artifact::images_and_artifacts_explain_themselves;
    artifact::ten_thousand_files_go_and_come;
    artifact_files::a_pull_deletes_nothing_that_the_artifact_lacks;
    artifact_files::what_has_no_subject_is_not_pushed;
    artifact_files::a_file_of_the_empty_type_is_refused_or_comes_back;
    artifact_files::a_model_is_one_folder_alone;
    artifact_files::what_is_typed_wins;
    artifact_files::what_is_left_out_is_told;
    artifact_files::an_error_names_what_it_is_about;
    attached::each_platform_has_its_own;
    attached::an_artifact_is_chosen_by_its_platform;
    attached::what_is_found_is_what_was_asked_for;
    attached::what_is_not_there_yet_has_attachments;
    attached::docker_registry_keeps_what_is_attached_to_nothing, needs "docker-registry";
    attached::all_that_is_attached_at_once_stays;
    attached::docker_registry_keeps_all_that_is_attached_at_once, needs "docker-registry";
    attached::an_archive_keeps_its_other_images;
    attached::a_file_that_may_not_be_read_is_replaced, needs ROOT;
    attached::known_kinds_say_what_they_are;
    trips::an_attachment_takes_four_round_trips;
    trips::docker_registry_takes_eight, needs "docker-registry";
    trips::a_pull_asks_for_nothing_twice;
    codes::every_failure_has_its_code;
    codes::mistakes_are_json_where_json_is_wanted;
    codes::a_reader_that_has_enough_ends_a_download;
    names::tags_are_listed_in_every_order;
    names::details_cost_one_request_a_name_and_some_a_digest;
    names::repositories_are_listed;
    names::a_digest_is_one_head_request;
    names::a_registry_tags_without_blobs;
    names::docker_registry_has_the_same_lists, needs "docker-registry";
    files::files_are_listed_and_read;
    files::cat_reads_the_newest_layers_only;
    files::differences_are_told, needs "tar";
    files::changes_become_a_layer;
    files::lost_set_id_bits_are_no_change_without_privilege, needs ROOT;
    files::packed_as_asked_and_alike_everywhere;
    packing::layers_go_on_top_of_an_image;
    packing::several_folders_become_one_layer;
    packing::a_file_named_like_a_whiteout_is_refused;
    packing::nothing_of_the_packer_is_in_a_layer, needs "taskset";
    packing::umoci_tells_of_the_history, needs "umoci";
    packing::changes_of_metadata_become_a_layer;
    packing::the_upper_folder_of_an_overlay_becomes_a_layer, needs ROOT "mount";
    packing::an_index_keeps_its_other_images;
    packing::layers_are_downloaded_once;
    owners::noted_owners_are_repacked, needs ROOT;
    owners::noted_owners_are_packed, needs ROOT;
    owners::a_bundle_is_repacked_with_its_maps, needs ROOT;
    owners::umoci_s_bundles_are_repacked, needs ROOT "umoci" "setpriv";
    owners::devices_are_what_is_asked_for, needs ROOT "mknod";
    raw::manifests_go_and_come_byte_for_byte;
    raw::blobs_go_and_come_byte_for_byte;
    raw::a_large_blob_comes_out_of_an_archive;
    raw::what_is_wrong_is_refused;
    removal::a_tag_goes_alone;
    removal::a_manifest_goes_with_all_that_is_named;
    removal::nothing_goes_unasked;
    removal::docker_registry_says_what_it_does_not_allow, needs "docker-registry";
    served::people_come_in_by_password_over_tls_and_are_logged;
    shown::events_are_json_with_a_sum;
    shown::what_moved_is_told_of_a_failure_too;
    shown::a_report_is_not_told_twice;
    shown::a_rate_is_kept;
    shown::every_report_on_one_thing_names_its_digest;
    trees::one_tar_is_the_same_tree, needs "tar";
    trees::single_files_come_from_the_newest_layers, needs "tar";
    trees::hidden_files_are_not_written;
    trees::layers_are_folders_in_order;
    trees::a_manifest_tells_every_change;
    trees::bsdtar_reads_manifests, needs "bsdtar";
    trees::a_pull_unpacks_what_comes;
    trees::a_pull_that_fails_leaves_no_tree;
    complete::commands_options_and_places, needs "bash";
    complete::fish_offers_the_same, needs "fish";
    complete::zsh_reads_its_script, needs "zsh";
    complete::live_tags, needs "bash";
    complete::logins_and_what_their_registries_hold, needs "bash";
    complete::pages_of_the_manual;
};

fn main() -> ExitCode {
    support::case::main(CASES)
}
