//! The verbs on real places. One program, since each takes seconds to build.

mod copying;
mod drafts;
mod matrix;
mod ranges;
mod registry;
mod validate;
mod validate_docker;
mod wire;
