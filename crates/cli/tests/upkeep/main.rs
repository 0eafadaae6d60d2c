//! The upkeep of the local store and of layouts, with the whole program: names, collection, damage
//! and repair, many at once, and what refused commands leave behind: nothing.
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

mod collect;
mod damage;
mod many;
mod nothing;
mod reflink;

use std::process::ExitCode;

use support::case::{Case, ROOT};

const CASES: &[Case] = cases! {
    collect::what_has_no_name_is_collected;
    collect::young_content_stays;
    collect::a_place_in_use_is_left_alone;
    collect::a_damaged_index_stops_the_collection;
    collect::sizes_are_told_alone_and_shared;
    collect::names_are_given_and_taken;
    collect::a_digest_takes_its_names_along;
    collect::another_persons_place_can_be_read, needs ROOT "setpriv";
    damage::is_found_by_image_and_repaired;
    damage::is_replaced_by_a_copy;
    many::tags_while_the_collector_loops;
    many::a_place_that_is_never_idle_is_collected;
    many::tags_in_one_layout;
    nothing::is_left_by_a_refused_command;
    nothing::is_needed_of_a_home;
    reflink::shares_blocks_on_xfs, needs ROOT "mount" "mkfs.xfs";
    reflink::shares_blocks_on_btrfs, needs ROOT "mount" "mkfs.btrfs";
};

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(many::SHARES) {
        many::take_shares_for_ever(dir.as_ref());
    }
    support::case::main(CASES)
}
