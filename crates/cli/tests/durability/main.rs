//! Power cuts and failing system calls: what conex acknowledged is there afterwards.
//!
//! A power cut is made of two halves. `disk` puts a file system on a disk that writes down every
//! write and flush that reaches it, while conex works; `replay` then makes disks as a cut at any
//! moment may have left them, mounts each, and compares it with what `history` says may be there.
//! `sweep` lets the system calls of a command fail, one after the other.
//!
//! `CONEX_CRASH_STATES=10000 cargo test -p conex-cli --test durability power` looks at that many
//! states in place of a few hundred; `CONEX_SWEEP=1 cargo test -p conex-cli --test durability sweep`
//! lets every system call fail in place of a sample.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    reason = "tests stop at the first surprise, and run programs"
)]

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod filesystem;
mod history;
mod power;
mod registry;
mod replay;
mod sweep;

use std::process::ExitCode;

use support::case::{Case, ROOT};

const CASES: &[Case] = cases! {
    power::a_loss_is_seen, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::layout_on_ext4, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::layout_on_careless_ext4, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::layout_on_xfs, needs ROOT "mkfs.xfs" "mount" "/dev/fuse";
    power::layout_on_btrfs, needs ROOT "mkfs.btrfs" "mount" "/dev/fuse";
    power::archives_on_ext4, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::archives_on_careless_ext4, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::archives_on_btrfs, needs ROOT "mkfs.btrfs" "mount" "/dev/fuse";
    power::trees_on_careless_ext4, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::trees_on_xfs, needs ROOT "mkfs.xfs" "mount" "/dev/fuse";
    power::store_on_ext4, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::store_on_xfs, needs ROOT "mkfs.xfs" "mount" "/dev/fuse";
    power::store_on_btrfs, needs ROOT "mkfs.btrfs" "mount" "/dev/fuse";
    power::registry_on_ext4, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::registry_on_careless_ext4, needs ROOT "mkfs.ext4" "mount" "/dev/fuse";
    power::registry_on_xfs, needs ROOT "mkfs.xfs" "mount" "/dev/fuse";
    sweep::of_a_copy, needs "strace";
    sweep::of_a_tag, needs "strace";
    sweep::of_rm, needs "strace";
    sweep::of_gc, needs "strace";
    sweep::short_writes_of_a_copy, needs ROOT "mount";
};

fn main() -> ExitCode {
    support::case::main(CASES)
}
