//! `GET /token` and `POST /token`: our own tokens. "Token Authentication Implementation" and "OAuth2
//! Token Authentication" of the CNCF Distribution project.

use http::{Method, header};
use serde_json::json;

use super::Tokens;
use super::gate::{Asker, Who, granted, now, service};
use super::token::Scope;
use crate::app::{App, Asked};
use crate::failure::{Code, Failure};
use crate::reply::{Answer, With, json};
use crate::routes::Query;

/// The longest form, in bytes.
const FORM: usize = 64 << 10;
/// The most scopes in one token.
const SCOPES: usize = 100;

impl App {
    pub(crate) async fn token(&self, asked: Asked<'_>) -> Answer {
        let Tokens::Own(own) = &self.gate.access.tokens else {
            return Err(Code::Unsupported.says("this registry gives out no tokens"));
        };
        let (asker, query) = match *asked.method {
            Method::GET => (asked.asker, asked.query),
            Method::POST => self.form(asked).await?,
            _ => return Err(Failure::method("GET, POST")),
        };
        let user = match &asker.who {
            Who::User(user) => Some(user.as_str()),
            // A stranger gets a token where strangers may do something.
            Who::Anyone if self.gate.access.rules.know_strangers() => None,
            Who::Anyone => return Err(password_wanted("log in first")),
            // Otherwise a token would live for ever.
            Who::Bearer(_) => return Err(password_wanted("a token is not given for a token")),
        };
        let wanted: Vec<&str> = query.all("scope").flat_map(|scopes| scopes.split(' ')).collect();
        if wanted.len() > SCOPES {
            return Err(Code::Denied.says(format!("more than {SCOPES} scopes at once")));
        }
        let scopes = wanted.into_iter().filter_map(Scope::parse);
        let access = scopes.filter_map(|scope| granted(&asker, scope)).collect();
        let host = asker.host();
        let service = service(own.url.as_deref(), &host);
        let token = self.gate.mint.issue(user, service, access, (now(), own.life));
        let answer = json!({ "token": token, "access_token": token, "expires_in": own.life });
        Ok(json(&answer, "application/json").with(header::CACHE_CONTROL, "no-store"))
    }

    /// Who sends a form says there who it is. RFC 6749, 4.3.
    async fn form<'a>(&self, asked: Asked<'a>) -> Result<(Asker<'a>, Query), Failure> {
        let body = asked.body.whole(FORM).await?;
        // In forms a plus sign is a space.
        let text = String::from_utf8_lossy(&body).replace('+', "%20");
        let form = Query::parse(Some(&text))?;
        let (Some("password"), Some(user), Some(password)) =
            (form.one("grant_type")?, form.one("username")?, form.one("password")?)
        else {
            return Err(Code::Unsupported
                .says("only the grant `password` is known, with `username` and `password`")
                .status(http::StatusCode::BAD_REQUEST));
        };
        if !self.gate.log_in(user, password).await? {
            return Err(password_wanted("the user or the password is wrong"));
        }
        let who = Who::User(user.to_owned());
        Ok((Asker { who, ..asked.asker }, form))
    }
}

/// Here a password is the way in, whatever the rest of the registry asks for.
fn password_wanted(why: &str) -> Failure {
    let value = http::HeaderValue::from_static("Basic realm=\"conex\", charset=\"UTF-8\"");
    Code::Unauthorized.says(why).header(header::WWW_AUTHENTICATE, value)
}
