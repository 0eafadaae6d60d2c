//! Trying a login before it is kept, and keeping it.

use std::path::Path;

use conex_spec::{Error, Kind, Result};
use conex_store::bridge::blocking;

use crate::auth::Scope;
use crate::credentials::{Credentials, Domain, Kept, Proof};
use crate::options::Options;
use crate::repository::Client;
use crate::secret::Secret;

/// What a person logs in with.
#[derive(Clone, Debug)]
pub enum LoginProof {
    /// A user name and a password.
    Password {
        /// The user.
        user: String,
        /// The password, or what the registry takes for one.
        password: Secret,
    },
    /// An identity token: a refresh token of OAuth 2.
    IdentityToken(Secret),
}

/// A login that a registry has taken, ready to be kept.
#[derive(Clone, Debug)]
pub struct Checked {
    domain: Domain,
    proof: Proof,
    asked: bool,
}

impl Checked {
    /// Whether the registry asked for a login at all. If not, nobody knows whether this one is
    /// good.
    pub fn was_asked(&self) -> bool {
        self.asked
    }

    /// Whether what is kept is an identity token, which the token server gave for the password.
    pub fn is_identity_token(&self) -> bool {
        matches!(self.proof, Proof::Identity(..))
    }

    /// Keeps it where `credentials` look first: with a helper, or in a file.
    ///
    /// # Errors
    /// `Invalid` for a broken file, `Conflict` where another process holds it, `NotFound` for a helper
    /// that is not there, `Unsupported` where it would never be read.
    pub async fn keep(self, credentials: &Credentials, file: &Path) -> Result<Kept> {
        let (credentials, file) = (credentials.clone(), file.to_owned());
        blocking(move || credentials.keep(&self.domain, &self.proof, &file)).await
    }
}

impl Client {
    /// Asks a registry whether it takes the login that is kept for this domain. Returns whether it
    /// asked for one at all.
    ///
    /// # Errors
    /// `Unauthorized` where it does not take it.
    pub async fn check_login(&self, domain: &Domain) -> Result<bool> {
        let repository = self.repository(&domain.reference()?);
        let scope = Scope { repository: repository.name().clone(), ..Scope::default() };
        repository.greet(scope).await?;
        Ok(repository.registry().auth.is_wanted())
    }

    /// Tries a login with the registry. Where its token server gives an identity token, that one is
    /// kept later instead of the password.
    ///
    /// # Errors
    /// `Unauthorized` where the registry refuses the login.
    pub async fn try_login(&self, domain: &Domain, with: &LoginProof) -> Result<Checked> {
        let proof = match with {
            LoginProof::Password { user, .. } if user.is_empty() || user.contains(':') => {
                return Err(Error::new(Kind::Usage, "not a user name")
                    .expected("a name without a colon")
                    .found(format!("{user:?}")));
            }
            LoginProof::Password { password, .. } if password.is_empty() => {
                return Err(Error::new(Kind::Usage, "the password is empty"));
            }
            LoginProof::Password { user, password } => {
                Proof::Password(user.clone(), password.clone())
            }
            LoginProof::IdentityToken(token) if token.is_empty() => {
                return Err(Error::new(Kind::Usage, "the identity token is empty"));
            }
            LoginProof::IdentityToken(token) => Proof::Identity(None, token.clone()),
        };
        let credentials = Credentials::anonymous()
            .with_proof(domain.registry(), proof.clone(), "this login")
            .wanting_identity();
        let client = Client::new(Options { credentials, ..self.options().clone() });
        let asked = client.check_login(domain).await.map_err(|err| match (err.kind(), with) {
            (Kind::Unauthorized, LoginProof::Password { .. }) => {
                err.hint("check the user name and the password")
            }
            (Kind::Unauthorized, LoginProof::IdentityToken(_)) => err.hint(
                "check the token, and whether the registry takes identity tokens: most take \
                 them as passwords, with a user name",
            ),
            _ => err,
        })?;
        let identity = client.repository(&domain.reference()?).registry().auth.identity();
        let proof = match (identity, proof) {
            (Some(token), Proof::Password(user, _)) => Proof::Identity(Some(user), token),
            (Some(token), Proof::Identity(user, _)) => Proof::Identity(user, token),
            (_, proof) => proof,
        };
        Ok(Checked { domain: domain.clone(), proof, asked })
    }
}
