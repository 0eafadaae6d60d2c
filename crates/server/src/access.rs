//! Who asks, and what they may do: the one gate before all handlers.
//!
//! People show a password (HTTP Basic) or a token (Docker's token protocol, which every client of
//! registries speaks). Both lead to a [`Asker`]; rules by the repository's name say what that one
//! may do there. Nothing is ever decided by what lies in the shared blobs: membership in the
//! repository and the right to read it are all that counts (rules R1 to R5).
//!
//! | looking for | module |
//! |---|---|
//! | what may be done, and by whom | [`rules`] |
//! | the file of users and passwords | [`htpasswd`] |
//! | tokens: ours, and those of a trusted issuer | [`token`] |
//! | what each endpoint needs | `gate` |
//! | `GET /token` | `issue` |

mod gate;
pub mod htpasswd;
mod issue;
pub mod rules;
pub mod token;

pub(crate) use gate::{Asker, Gate};

use self::htpasswd::Users;
use self::rules::Rules;
use self::token::{Issuer, Own};

/// Who may do what. The default lets everyone do everything.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// The people who can log in with a password.
    pub users: Option<Users>,
    /// Whose tokens are taken.
    pub tokens: Tokens,
    /// What each may do.
    pub rules: Rules,
}

/// Whose tokens are taken.
#[derive(Clone, Debug, Default)]
pub enum Tokens {
    /// Nobody's: a request shows its password, or it comes from no one in particular.
    #[default]
    None,
    /// This registry's own.
    Own(Own),
    /// Those of someone else, who also decides what their bearers may do.
    Of(Issuer),
}

impl Permissions {
    /// Whether everyone may do everything.
    pub fn is_open(&self) -> bool {
        self.users.is_none() && matches!(self.tokens, Tokens::None)
    }
}
