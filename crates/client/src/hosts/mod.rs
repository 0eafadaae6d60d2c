//! What people have configured about registries: other places to read from, whom to trust, which way
//! to go.
//!
//! | looking for | module |
//! |---|---|
//! | `registries.conf`: mirrors, other locations, blocked and insecure registries | [`registries`] |
//! | `certs.d`: authorities and client certificates of one registry | [`certs`] |
//! | which servers are trusted | `trust` |
//! | proxies, and who is asked without one | [`proxy`] |
//! | addresses that the program gives to names | [`addresses`] |
//! | reading through mirrors | `mirrored` |
//! | how many requests one host gets at a time | `gate` |
//! | why there was no answer | `failure` |

pub mod addresses;
pub mod certs;
pub mod proxy;
pub mod registries;

pub(crate) mod failure;
pub(crate) mod gate;
pub(crate) mod mirrored;
pub(crate) mod trust;
