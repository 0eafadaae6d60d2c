//! Bad input and bad days, end to end with the whole program: each ends in one clear error and a
//! documented exit code, what was there before is intact, and nothing is there by half.
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

mod content;
mod death;
mod disk;
mod hostile;
mod layers;
mod world;

use std::process::ExitCode;

use support::case::{Case, ROOT};

const CASES: &[Case] = cases! {
    content::a_flipped_byte_in_a_layout;
    content::a_flipped_byte_from_a_registry;
    content::a_flipped_byte_from_a_mirror;
    content::a_flipped_byte_in_the_folder_of_a_registry;
    content::a_flipped_byte_in_the_local_store;
    content::a_truncated_body;
    content::one_failure_stops_what_else_is_on_its_way;
    content::a_wrong_size;
    content::a_manifest_that_is_an_index_too;
    layers::names_that_leave_the_root;
    layers::links_that_leave_the_root;
    layers::what_cannot_be_unpacked;
    layers::what_is_ambiguous_is_refused_on_request;
    layers::a_wrong_diff_id;
    disk::full_while_pulling, needs ROOT "mount";
    disk::full_while_unpacking, needs ROOT "mount";
    disk::out_of_files_while_unpacking, needs ROOT "mount";
    disk::full_while_serving, needs ROOT "mount";
    death::of_the_registry_while_pulling;
    death::of_the_registry_while_pushing;
    death::of_conex_while_pulling;
    death::of_conex_while_pushing;
    death::of_conex_while_unpacking;
    death::of_conex_with_an_artifact;
};

fn main() -> ExitCode {
    support::case::main(CASES)
}
