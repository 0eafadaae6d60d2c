//! The distribution specification, sentence by sentence, over HTTP, against every home that a
//! registry can have: a folder, buckets of two servers of S3, and a layout.
//!
//! Cases are named after the part of the specification that they hold the registry to.
//! `requirements.txt` lists the sentences, each with its cases; `requirements` checks that none
//! lacks one. `cargo test -p conex-server --test conformance folder::pull` runs a part.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "tests stop at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;

mod context;
mod data;
mod discovery;
mod general;
mod management;
mod pull;
mod push;
mod requirements;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use conex_testkit::s3_server::{Program, S3Server};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use context::{Context, Home, Place};

/// One test, against any home.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its path below this module.
    pub name: &'static str,
    /// Whether it needs more than one repository, which a layout does not have.
    pub several: bool,
    /// Panics where the registry does not do what it must.
    pub run: fn(Context) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// A table of cases: `module::function;`, with `several` before those that need more repositories.
macro_rules! cases {
    (@several several) => { true };
    (@several) => { false };
    ($($($several:ident)? : $run:path;)*) => {
        &[$(Case {
            name: stringify!($run),
            several: cases!(@several $($several)?),
            run: |context| Box::pin($run(context)),
        }),*]
    };
}

const CASES: &[Case] = cases! {
    : pull::manifests::served_by_tag_and_by_digest;
    : pull::manifests::the_type_is_that_of_the_push_without_parameters;
    : pull::manifests::names_are_tags_or_digests;
    : pull::manifests::tags_follow_their_grammar;
    several: pull::manifests::repositories_follow_their_grammar;
    : pull::manifests::what_is_missing_is_404;
    several: pull::manifests::an_unknown_repository_is_404;
    : pull::manifests::no_accept_header_is_needed;
    : pull::manifests::what_the_client_has_is_304;
    : pull::blobs::served_with_their_digest;
    : pull::blobs::what_is_missing_is_404;
    : pull::blobs::ranges;
    : pull::blobs::ranges_under_conditions;
    : pull::blobs::what_the_client_has_is_304;
    : pull::head::manifests_have_the_mandatory_headers;
    : pull::head::blobs_have_the_mandatory_headers;
    : pull::head::what_is_missing_is_404;
    : push::blobs::post_then_put;
    : push::blobs::single_post;
    : push::blobs::a_body_must_have_its_length;
    : push::blobs::content_must_have_its_digest;
    : push::blobs::bad_digests_are_400;
    : push::blobs::every_algorithm;
    : push::blobs::the_empty_blob;
    : push::chunks::in_order_with_ranges;
    : push::chunks::the_last_one_may_come_with_the_put;
    : push::chunks::out_of_order_are_416_and_it_goes_on;
    : push::chunks::their_range_has_one_form;
    : push::chunks::the_least_length_is_told;
    : push::chunks::streamed_without_a_range;
    : push::chunks::the_session_is_closed_by_a_put_with_the_digest;
    : push::chunks::the_algorithm_can_be_told;
    : push::chunks::the_status_is_204;
    : push::cancel::is_204_and_final;
    several: push::mount::from_another_repository;
    several: push::mount::from_anywhere;
    several: push::mount::what_is_missing_begins_an_upload;
    : push::manifests::come_back_to_the_byte;
    : push::manifests::parameters_of_the_type_are_ignored;
    : push::manifests::the_digest_must_be_theirs;
    : push::manifests::the_type_must_be_theirs;
    : push::manifests::without_blobs;
    : push::manifests::missing_children_are_named;
    : push::manifests::media_types_must_be_such;
    : push::manifests::missing_children_are_fine_where_it_is_set;
    : push::manifests::many_tags_at_once;
    : push::manifests::too_many_tags_are_414;
    : push::manifests::of_four_mebibytes_are_taken;
    : push::manifests::beyond_the_limit_are_413;
    : push::manifests::what_is_none_is_400;
    : push::manifests::on_condition;
    : push::subject::is_told_and_may_be_missing;
    : discovery::tags::form_and_order;
    : discovery::tags::an_empty_list;
    : discovery::tags::exact_pages;
    : discovery::tags::none_of_them;
    : discovery::tags::after_a_tag;
    : discovery::tags::what_is_no_number_is_400;
    several: discovery::tags::an_unknown_repository_is_404;
    several: discovery::catalog::exact_pages;
    : discovery::referrers::none_is_an_empty_index;
    several: discovery::referrers::an_unknown_repository_is_no_404;
    : discovery::referrers::a_bad_digest_is_400;
    : discovery::referrers::types_and_annotations;
    : discovery::referrers::filtered;
    : discovery::referrers::in_pages;
    : discovery::referrers::the_referrers_tag_stays_a_tag;
    : management::tags::are_gone_at_once;
    : management::manifests::are_gone_with_their_tags;
    several: management::manifests::of_an_unknown_repository_are_404;
    : management::manifests::referrers_are_no_longer_listed;
    : management::blobs::are_gone_at_once;
    : management::disabled_is_405;
    : management::read_only_is_405;
    : general::the_base_is_200;
    : general::errors_have_their_form;
    : general::methods_that_are_not_there_are_405;
    : general::warnings_have_their_form;
    : general::the_ns_parameter_is_ignored;
    : general::a_refused_request_leaves_the_connection_usable;
    : data::image;
    : data::large_manifest;
    : data::index;
    : data::nested_index;
    : data::empty_index;
    : data::artifact;
    : data::artifact_index;
    : data::artifacts_with_a_subject;
    : data::index_with_a_subject;
    : data::missing_subject;
    : data::data_field;
    : data::non_distributable_layers;
    : data::custom_fields;
    : data::no_layers;
    : data::docker_image;
    : data::unknown_type;
    : data::sha512;
    : data::blake3;
    : data::tags_in_the_query;
};

/// Cases whose objects have names that s3s-fs cannot keep: it makes one file name of each, in
/// hexadecimal, and of 255 bytes at most.
const LONG: &[&str] = &[
    "data::artifacts_with_a_subject",
    "data::blake3",
    "data::index_with_a_subject",
    "data::missing_subject",
    "data::sha512",
    "discovery::referrers::filtered",
    "discovery::referrers::in_pages",
    "discovery::referrers::the_referrers_tag_stays_a_tag",
    "discovery::referrers::types_and_annotations",
    "management::manifests::referrers_are_no_longer_listed",
    "pull::blobs::served_with_their_digest",
    "pull::manifests::served_by_tag_and_by_digest",
    "pull::manifests::tags_follow_their_grammar",
    "push::blobs::every_algorithm",
    "push::blobs::the_empty_blob",
    "push::chunks::the_algorithm_can_be_told",
    "push::manifests::many_tags_at_once",
    "push::subject::is_told_and_may_be_missing",
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime: &'static Runtime = Box::leak(Box::new(Runtime::new().unwrap()));
    let scratch = tempfile::tempdir().unwrap();
    let mut homes = vec![("folder", Some(Place::Folder)), ("layout", Some(Place::Layout))];
    // Kept until the end; a listing starts no servers.
    let mut servers = Vec::new();
    for (name, program) in [("s3s", Program::S3s), ("moto", Program::Moto)] {
        let folder = scratch.path().join(name);
        let listed = arguments.list || !wanted(&arguments, name);
        let server = if listed { None } else { S3Server::start(program, &folder) };
        homes.push((name, server.as_ref().map(|server| Place::S3(server.endpoint()))));
        servers.extend(server);
    }
    let mut trials = vec![
        Trial::test("requirements::each_sentence_has_a_case", || {
            requirements::each_sentence_has_a_case(CASES);
            Ok(())
        }),
        Trial::test("requirements::are_those_of_the_specification", || {
            requirements::are_those_of_the_specification();
            Ok(())
        }),
    ];
    // Each is kept until all of its cases are over.
    let mut kept = Vec::new();
    for (name, place) in homes {
        let home = Arc::default();
        trials.extend(trials_of(runtime, name, place, &home));
        kept.push(home);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop((kept, servers));
    conclusion.exit_code()
}

fn trials_of(
    runtime: &'static Runtime,
    name: &str,
    place: Option<Place>,
    home: &Arc<Home>,
) -> Vec<Trial> {
    let fits = |case: &&Case| match name {
        "layout" => !case.several,
        "s3s" => !LONG.contains(&case.name),
        _ => true,
    };
    let fitting = CASES.iter().filter(fits);
    let trial = |case: &Case| {
        let (case, place, home) = (*case, place.clone(), Arc::clone(home));
        let run = move || {
            let Some(place) = place else { return Ok(()) };
            runtime.block_on(async move {
                let context = Context::new(place, &home, case.name).await;
                tokio::spawn((case.run)(context)).await.map_err(|err| {
                    let cause = err.into_panic();
                    let text = cause.downcast_ref::<String>().cloned();
                    text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                        .unwrap_or_default()
                        .into()
                })
            })
        };
        Trial::test(format!("{name}::{}", case.name), run).with_ignored_flag(false)
    };
    fitting.map(trial).collect()
}

/// Whether the filters of the command line may leave anything of a home.
fn wanted(arguments: &Arguments, home: &str) -> bool {
    let homes = ["folder::", "layout::", "s3s::", "moto::", "requirements::"];
    let names_another = |filter: &String| {
        homes.iter().any(|other| filter.starts_with(other) && !other.starts_with(home))
    };
    !arguments.filter.as_ref().is_some_and(names_another)
}
